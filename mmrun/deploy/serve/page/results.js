import { make } from "./dom.js";

const MAX_BARS = 10;

/** Draw the prediction of each target. */
export function drawPredictions(row) {
  const drawn = [];
  for (const [target, { prediction, scores }] of Object.entries(row.predictions)) {
    drawn.push(make("h2", {}, target), make("p", { className: "answer" }, describePrediction(prediction)));
    if (scores) drawn.push(drawShares(scores, target));
  }
  if (row.notes.length) drawn.push(make("ul", { className: "notes quiet" }, ...row.notes.map((note) => make("li", {}, note))));
  return drawn;
}

function describePrediction(prediction) {
  if (Array.isArray(prediction)) return prediction.join(", ") || "no label";
  if (typeof prediction === "number") return formatScore(prediction);
  if (typeof prediction === "object") {
    return Object.entries(prediction).map(([name, value]) => `${name} ${formatScore(value)}`).join(", ");
  }
  return prediction;
}

function drawShares(scores, target) {
  const entries = Object.entries(scores).sort((a, b) => b[1] - a[1]);
  const bars = entries.slice(0, MAX_BARS).map(([name, score]) => ({
    name, text: score.toFixed(3), left: 0, width: 100 * score, sign: "share",
  }));
  const more = entries.length - bars.length;
  return make("div", {}, drawBars(bars, `probabilities of ${target}`), more > 0 ? make("p", { className: "quiet" }, `and ${more} more`) : null);
}

/** Draw what each modality contributes, then the saliency inside each. */
export function drawExplanation(explained) {
  const contributions = Object.entries(explained.contributions);
  const largest = Math.max(...contributions.map(([, value]) => Math.abs(value)), 1e-9);
  const bars = contributions.map(([name, value]) => {
    const width = (50 * Math.abs(value)) / largest;
    const detail = `without it ${formatScore(explained.without[name])}`;
    return { name, detail, text: formatSigned(value), left: value < 0 ? 50 - width : 50, width, sign: value > 0 ? "supports" : "opposes" };
  });
  const about = make("p", { className: "quiet" },
    make("span", { className: "key supports" }), "supports and ", make("span", { className: "key opposes" }),
    `opposes ${explained.explained}. Shapley values: they add up from ${formatScore(explained.empty_score)} without any modality to ${formatScore(explained.score)} with all.`);
  return [
    make("h2", {}, `What each modality contributes to ${explained.target}`),
    about,
    drawBars(bars, "contributions of the modalities"),
    make("h2", {}, "Which parts matter"),
    make("div", { className: "panels" }, ...explained.panels.map(drawPanel)),
    explained.notes.length ? make("ul", { className: "notes quiet" }, ...explained.notes.map((note) => make("li", {}, note))) : null,
  ].filter((part) => part !== null);
}

function drawBars(bars, label) {
  const list = make("dl", { className: "bars", "aria-label": label });
  for (const bar of bars) {
    const fill = make("i", { className: bar.sign });
    fill.style.left = `${bar.left}%`;
    fill.style.width = `${bar.width}%`;
    const track = make("dd", { className: bar.sign === "share" ? "track" : "track signed" }, fill);
    const name = make("dt", {}, bar.name, bar.detail ? make("small", {}, ` ${bar.detail}`) : null);
    list.append(name, track, make("dd", { className: "number" }, bar.text));
  }
  return list;
}

function drawPanel(panel) {
  const parts = [];
  if (panel.images.length) {
    const figures = panel.images.map(([source, caption]) =>
      make("figure", {}, make("img", { src: source, alt: `${panel.modality}: ${caption}` }), make("figcaption", {}, caption)));
    parts.push(make("div", { className: panel.is_wide ? "images wide" : "images" }, ...figures));
  }
  if (panel.spans.length) {
    const spans = panel.spans.map((span) => {
      const word = make("span", { title: span.value }, span.text);
      word.style.backgroundColor = span.colour;
      return word;
    });
    parts.push(make("div", { className: "text", tabIndex: 0, "aria-label": `${panel.modality}: words with heat` }, ...spans));
  }
  if (panel.bars.length) parts.push(drawBars(panel.bars, `columns of ${panel.modality}`));
  if (panel.chart) {
    const source = panel.chart.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ');
    parts.push(document.importNode(new DOMParser().parseFromString(source, "image/svg+xml").documentElement, true));
  }
  const more = panel.more ? make("p", { className: "quiet" }, panel.more) : null;
  return make("section", { className: "panel" }, make("h3", {}, panel.modality), make("p", { className: "quiet" }, panel.about), ...parts, more);
}

function formatScore(value) {
  const size = Math.abs(value);
  if (value !== 0 && size < 0.001) return value.toExponential(3);
  return size < 10 ? value.toFixed(4) : value.toPrecision(4);
}

function formatSigned(value) {
  if (Math.abs(value) < 1e-6) return "0";
  return (value > 0 ? "+" : "−") + formatScore(Math.abs(value));
}
