/* Shows on the page why a security key did not work; allauth's script only logs the reason. */
const SECURITY_KEY_WORDS = {
    NotAllowedError: "No security key of this account was used in time. Try again, or choose another way.",
    InvalidStateError: "This security key has already been added.",
    SecurityError: "Browsers allow security keys only over HTTPS or on localhost. ",
};

document.addEventListener("allauth.error", event => {
    event.preventDefault();
    const error = event.detail.exception;
    const name = window.isSecureContext ? error.name : "SecurityError";
    const message = document.querySelector("#security-key-message") ?? document.createElement("p");
    message.id = "security-key-message";
    message.className = "ac-message ac-message--error";
    message.setAttribute("role", "alert");
    message.textContent = SECURITY_KEY_WORDS[name] ?? `The security key did not work: ${error.message}`;
    if (name === "SecurityError" && location.hostname === "127.0.0.1") {
        const link = document.createElement("a");
        link.href = location.href.replace("//127.0.0.1", "//localhost");
        link.textContent = "Open this page on localhost.";
        message.append(link);
    }
    document.querySelector("main").prepend(message);
});
