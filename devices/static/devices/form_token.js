/* Sends forms with the current CSRF token, which is replaced when the user signs in in another tab. */
document.addEventListener("submit", ({ target }) => {
    const token = document.cookie.match(/(?:^|; )csrftoken=(\w+)/)?.[1];
    const field = target.elements.namedItem("csrfmiddlewaretoken");
    if (field && token) field.value = token;
});
