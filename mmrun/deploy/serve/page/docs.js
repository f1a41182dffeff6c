import { fetchJson, make } from "./dom.js";

const EXAMPLES = {
  image: "data:image/png;base64,…", audio: "data:audio/wav;base64,…", video: "data:video/mp4;base64,…", points: "data:;base64,…",
  text: "some text", series: [1.5, 2, 2.5], date: "2026-01-31",
};

function exampleCell(column) {
  if (column.type === "number") return Number(column.mean.toPrecision(4));
  if (column.type === "category") return column.categories[0] ?? "";
  return EXAMPLES[column.type];
}

function quote(text) {
  return `'${String(text).replaceAll("'", String.raw`'\''`)}'`;
}

function describeInputs(schema) {
  const rows = schema.inputs.flatMap(({ modality, columns }) => columns.map((column) => {
    const about = column.type === "category" ? `${column.num_categories} known: ${column.categories.slice(0, 10).join(", ")}` : "";
    return make("tr", {}, ...[column.name, modality, column.type, about].map((cell) => make("td", {}, cell)));
  }));
  const head = make("tr", {}, ...["column", "modality", "type", ""].map((name) => make("th", { scope: "col" }, name)));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}

function describeErrors() {
  return make("p", {}, "Errors have one shape: ", make("code", {}, '{"error": {"status", "where", "what", "mend"}}'),
    ". 400: not JSON or no form; 408: too slow; 413: too large; 415: another type; 422: a cell cannot be read; 503: too busy, with Retry-After.");
}

async function start() {
  const [schema, interfaces] = await Promise.all([fetchJson("/schema"), fetchJson("/openapi.json")]);
  document.getElementById("run").textContent = `Interface of ${schema.run}`;
  const columns = schema.inputs.flatMap((modality) => modality.columns);
  const row = Object.fromEntries(columns.map((column) => [column.name, exampleCell(column)]));
  const parts = columns.map((column) => ["image", "audio", "video", "points"].includes(column.type)
    ? `-F ${quote(`${column.name}=@FILE`)}` : `-F ${quote(`${column.name}=${[exampleCell(column)].flat().join(", ")}`)}`);
  const body = JSON.stringify({ rows: [row] }, null, 1);
  const endpoints = Object.entries(interfaces.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, { description }]) =>
    make("tr", {}, make("td", {}, make("code", {}, `${method.toUpperCase()} ${path}`)), make("td", {}, description.split("\n")[0]))));
  document.getElementById("docs").replaceChildren(
    make("table", {}, make("tbody", {}, ...endpoints)),
    make("h2", {}, "Columns"),
    make("p", { className: "quiet" }, `All may be left out, but one of them. Up to ${schema.limits.rows} rows and ${schema.limits.bytes >> 20} MiB a request.`),
    describeInputs(schema),
    make("h2", {}, "Rows as JSON"),
    make("p", { className: "quiet" }, "Files are base64 or data URLs; the server opens no paths or addresses."),
    make("pre", { tabIndex: 0 }, `curl ${location.origin}/predict -H 'Content-Type: application/json' -d ${quote(body)}`),
    make("h2", {}, "One row as a form"),
    make("pre", { tabIndex: 0 }, `curl ${location.origin}/predict ${parts.join(" ")}`),
    describeErrors(),
  );
}

start();
