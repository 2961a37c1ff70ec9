// Draws the charts of the report. Knows plotly and the reader's screen; what is drawn stands in #data.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 40rem)");
  const named = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // plotly reads some tags in texts: names from a file are only text.
  const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const colour = (key) => named(key === "failed" ? "--failed" : `--c${key}`);

  const traces = (chart) =>
    chart.traces.map(({ colour: key, ...trace }) => ({
      ...trace,
      name: plain(trace.name),
      line: { ...trace.line, color: colour(key) },
      ...(trace.stackgroup ? { fillcolor: colour(key) } : {}),
    }));

  // A window is seen behind lines, and on top of areas.
  const under = { line: { width: 0 }, layer: "below" };
  const over = { line: { width: 1, dash: "dot", color: "#ffffff" }, layer: "above" };

  const layout = (chart) => ({
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: named("--ink"), size: narrow.matches ? 11 : 12 },
    margin: { l: 56, r: 8, t: 8, b: 36 },
    showlegend: chart.traces.length > 1,
    legend: { orientation: "h", x: 0, y: -0.22, yanchor: "top" },
    hovermode: "x unified",
    hoverlabel: { bgcolor: named("--card"), font: { color: named("--ink") } },
    dragmode: false,
    xaxis: {
      title: { text: data.axis.title, standoff: 4 }, range: [0, data.axis.end], fixedrange: true,
      gridcolor: named("--line"), linecolor: named("--line"), zeroline: false,
    },
    yaxis: {
      tickformat: chart.format, fixedrange: true, gridcolor: named("--line"), zeroline: false, automargin: true,
      ...(far(chart) ? { type: "log", dtick: "D2" } : { rangemode: "tozero" }),
      ...(chart.name.startsWith("share") ? { range: [0, 1] } : {}),
      ...(chart.name === "success" ? { range: floor(chart) } : {}),
    },
    shapes: data.windows.map((span) => ({
      type: "rect", xref: "x", yref: "paper", x0: span.from, x1: span.until, y0: 0, y1: 1,
      fillcolor: named("--shade"), ...(chart.name.startsWith("share") ? over : under),
    })),
    annotations: data.windows.map((span, place) => ({
      xref: "x", yref: "paper", x: span.from, y: 1 - 0.09 * place, xanchor: "left", yanchor: "top", showarrow: false,
      text: plain(span.text), font: { size: 10, color: named("--ink") }, bgcolor: named("--card"), opacity: 0.85,
    })),
  });

  // Seconds and minutes on one chart: both are to be seen.
  const far = (chart) => {
    const seen = chart.traces.flatMap((trace) => trace.y).filter((value) => value > 0);
    return chart.wide && seen.length > 0 && Math.max(...seen) > 30 * Math.min(...seen);
  };

  // The lowest success that was seen decides where the axis begins; a hundred percent is always on it.
  const floor = (chart) => {
    const seen = chart.traces.flatMap((trace) => trace.y).filter((value) => value !== null);
    const lowest = Math.min(1, ...seen);
    return [Math.max(0, 1 - Math.max(0.01, (1 - lowest) * 1.15)), 1 + Math.max(0.0005, (1 - lowest) * 0.03)];
  };

  const config = { responsive: true, displaylogo: false, displayModeBar: false };
  const draw = () => data.charts.forEach((chart) => Plotly.react(chart.name, traces(chart), layout(chart), config));
  draw();
  dark.addEventListener("change", draw);
  narrow.addEventListener("change", draw);
  document.documentElement.dataset.drawn = String(data.charts.length);
})();
