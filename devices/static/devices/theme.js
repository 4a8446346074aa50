/* Light or dark, as was chosen in the admin, which keeps it as JSON. Before the page is drawn. The
   second name is Swagger UI's. */
const chosen = JSON.parse(localStorage.getItem("_x_adminTheme") ?? localStorage.getItem("adminTheme") ?? '"auto"');
const isDark = chosen === "dark" || (chosen === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
for (const name of ["dark", "dark-mode"]) document.documentElement.classList.toggle(name, isDark);
