/* Light or dark, as was chosen in the admin, which keeps it as JSON. Before the page is drawn. */
const chosen = JSON.parse(localStorage.getItem("_x_adminTheme") ?? localStorage.getItem("adminTheme") ?? '"auto"');
const isDark = chosen === "dark" || (chosen === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
document.documentElement.classList.toggle("dark", isDark);
