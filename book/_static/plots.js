// Plots follow their place: plotly measures it 0.1 s after the window's size has changed, when the theme's sidebar
// is still sliding, and not at all where only the sidebar is folded.
for (const plot of document.querySelectorAll(".plotly-graph-div"))
  new ResizeObserver(() => {
    const drawn = plot.querySelector(".main-svg")?.clientWidth;
    if (drawn && plot.clientWidth && plot.clientWidth !== drawn) Plotly.Plots.resize(plot);
  }).observe(plot);
