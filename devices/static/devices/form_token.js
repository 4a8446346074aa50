/* A form is sent with the token of now: signing in, in another tab, has made a new one. */
document.addEventListener("submit", ({ target }) => {
    const token = document.cookie.match(/(?:^|; )csrftoken=(\w+)/)?.[1];
    const field = target.elements.namedItem("csrfmiddlewaretoken");
    if (field && token) field.value = token;
});
