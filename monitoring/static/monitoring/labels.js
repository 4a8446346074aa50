/* On narrow screens the theme shows a column's name, which begins in lower case, next to each value.
 * CSS cannot capitalise just the first letter of such a label. */
document.addEventListener("DOMContentLoaded", () => {
  for (const { dataset } of document.querySelectorAll("[data-label]")) {
    dataset.label = dataset.label.charAt(0).toUpperCase() + dataset.label.slice(1);
  }
});
