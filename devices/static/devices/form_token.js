/* Sends a form with the current CSRF token: signing in, in another tab, replaces it. */
document.addEventListener("submit", ({ target }) => {
    const token = document.cookie.match(/(?:^|; )csrftoken=(\w+)/)?.[1];
    const field = target.elements.namedItem("csrfmiddlewaretoken");
    if (field && token) field.value = token;
});
