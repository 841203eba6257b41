(() => {
  const select = document.currentScript.parentElement.querySelector("select");

  function choose() {
    for (const part of document.querySelectorAll("[data-protocol]")) {
      part.hidden = part.dataset.protocol !== select.value;
      // A plot that was drawn while hidden has no width of its own yet.
      if (!part.hidden) part.querySelectorAll(".js-plotly-plot").forEach((plot) => Plotly.Plots.resize(plot));
    }
  }

  select.addEventListener("change", choose);
  // A browser that reloads a page keeps the choice but not what it hid.
  window.addEventListener("load", choose);
})();
