// Before anything is painted: the theme that was chosen, if one was.
try {
  const chosen = localStorage.getItem("runrig-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch { /* storage is off: the system's theme */ }
