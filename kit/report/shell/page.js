(() => {
  "use strict";
  const own = document.currentScript;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const plots = [...document.querySelectorAll("figure.plot")];
  let loading = null;
  let printing = false;

  const failed = (error) => {
    for (const plot of plots) plot.classList.add("undrawn");
    console.warn("A chart could not be drawn:", error);
  };

  // The content security policy trusts what this script loads (folder), or plotly.js by its own hash (one file).
  const load = () => (loading ??= new Promise((done, refuse) => {
    const element = document.createElement("script");
    const packed = document.querySelector('script[data-packed="plotly"]');
    element.onload = done;
    element.onerror = () => refuse(new Error("plotly.js could not be loaded"));
    if (!packed) {
      element.src = own.dataset.plotly;
      document.head.append(element);
      return;
    }
    const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    new Response(stream).text().then((source) => {
      element.textContent = source;
      document.head.append(element);
      done();
    }, refuse);
  }));

  const ink = () => (printing ? "#3d434a" : getComputedStyle(document.documentElement).getPropertyValue("--muted").trim());
  const isOurs = (layout) => layout.template?.layout?.paper_bgcolor === "rgba(0,0,0,0)";
  const shorter = (text, most) => {
    const letters = String(text).match(/&#?\w+;|./gsu) ?? [];
    return letters.length > most ? letters.slice(0, most).join("") + "…" : text;
  };

  // On a phone: shorter names, every second tick, and room for the value behind the longest bar.
  const narrow = (layout) => {
    const { xaxis: x, yaxis: y } = layout;
    if (y?.ticktext) layout.yaxis = { ...y, ticktext: y.ticktext.map((text) => shorter(text, 20)) };
    if (x?.ticktext) layout.xaxis = { ...x, ticktext: x.ticktext.map((text) => shorter(text, 20)) };
    if (x?.range && x.tickvals?.length > 3) {
      const even = (_, index) => index % 2 === 0;
      layout.xaxis = { ...x, range: [0, x.range[1] * 1.2], tickvals: x.tickvals.filter(even), ticktext: x.ticktext.filter(even) };
    }
  };

  const fitted = (figure, width) => {
    const layout = { ...figure.layout };
    if (!isOurs(layout)) return layout;
    layout.font = { ...layout.font, color: ink() };
    if (width < 620) narrow(layout);
    return layout;
  };

  const draw = async (plot) => {
    if (plot.dataset.drawn) return;
    plot.dataset.drawn = "true";
    await load();
    const figure = JSON.parse(plot.querySelector('script[type="application/json"]').textContent);
    const canvas = plot.querySelector(".canvas");
    const config = { ...figure.config, displaylogo: false, responsive: true, typesetMath: false };
    await Plotly.newPlot(canvas, figure.data ?? [], fitted(figure, canvas.clientWidth), config);
  };

  // A chart in closed details has no width yet; it is drawn when it is first seen.
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) draw(entry.target).catch(failed);
  }, { rootMargin: "600px" });
  plots.forEach((plot) => seen.observe(plot));

  const recolour = () => {
    for (const canvas of document.querySelectorAll(".canvas.js-plotly-plot")) {
      if (isOurs(canvas.layout)) Plotly.relayout(canvas, { "font.color": ink() });
      Plotly.Plots.resize(canvas);
    }
  };
  dark.addEventListener("change", recolour);

  let closed = [];
  addEventListener("beforeprint", () => {
    printing = true;
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const details of closed) details.open = true;
    plots.forEach((plot) => draw(plot).catch(failed));
    if (window.Plotly) recolour();
  });
  addEventListener("afterprint", () => {
    printing = false;
    for (const details of closed) details.open = false;
    if (window.Plotly) recolour();
  });

  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
    target.querySelector(":scope > details.page")?.setAttribute("open", "");
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();

  const copy = async (box, button) => {
    try {
      await navigator.clipboard.writeText(box.textContent);
    } catch {
      getSelection().selectAllChildren(box);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };
  for (const box of document.querySelectorAll("pre.remedy, pre.kit-remedy, pre.kit-query")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", () => copy(box, button));
    const frame = document.createElement("div");
    frame.className = "copyable";
    box.replaceWith(frame);
    frame.append(button, box);
  }

  // Contents stand beside the text on wide screens and are folded above it on narrow ones.
  if (matchMedia("(max-width: 1080px)").matches) for (const box of document.querySelectorAll("details.contents")) box.open = false;
})();
