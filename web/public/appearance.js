// Runs before the first paint, so that a chosen theme or language never flashes past the other one.
(function () {
  try {
    var theme = localStorage.getItem("althing.theme");
    var language = localStorage.getItem("althing.language");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
    if (language) document.documentElement.lang = language;
  } catch {
    // Storage may be forbidden; the system's own settings hold then.
  }
})();
