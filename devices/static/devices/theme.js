/* Light or dark, as chosen in the admin, which stores it as JSON. Runs before the page is drawn.
   The second class name is Swagger UI's. */
const chosen = JSON.parse(localStorage.getItem("_x_adminTheme") ?? localStorage.getItem("adminTheme") ?? '"auto"');
const isDark = chosen === "dark" || (chosen === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
for (const name of ["dark", "dark-mode"]) document.documentElement.classList.toggle(name, isDark);
