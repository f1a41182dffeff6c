import { fetchJson, make } from "./dom.js";
import { buildModality } from "./fields.js";
import { drawExplanation, drawPredictions } from "./results.js";

const byId = (id) => document.getElementById(id);
let latest = 0; // number of the last request: answers to earlier ones are not shown

async function start() {
  let schema;
  try {
    schema = await fetchJson("/schema");
  } catch (error) {
    showProblem(error);
    return;
  }
  document.title = `${schema.run} - mmrun`;
  byId("run").textContent = schema.run;
  const modalities = schema.inputs.map(buildModality);
  byId("fields").append(...modalities.map((modality) => modality.element));
  if (schema.explains && schema.targets.length > 1) {
    byId("target-choice").hidden = false;
    byId("target").append(...schema.targets.map(({ name }) => make("option", { value: name }, name)));
  }
  byId("row").addEventListener("submit", (event) => {
    event.preventDefault();
    predict(schema, modalities);
  });
  byId("row").addEventListener("reset", () => {
    modalities.forEach((modality) => modality.clear());
    latest += 1;
    clearResult("The prediction appears here.");
    byId("predict").disabled = false;
  });
}

async function predict(schema, modalities) {
  const number = ++latest;
  const button = byId("predict");
  button.disabled = true;
  clearResult("Predicting …");
  const build = () => {
    const form = new FormData();
    modalities.forEach((modality) => modality.read(form));
    return { method: "POST", body: form };
  };
  try {
    const answer = await fetchJson("/predict", build());
    if (number !== latest) return;
    byId("predictions").replaceChildren(...drawPredictions(answer.rows[0]));
    byId("status").textContent = "Predicted.";
    byId("result").focus({ preventScroll: true });
    byId("result").scrollIntoView({ block: "nearest" });
    if (!schema.explains) return;
    byId("status").textContent = "Predicted. Explaining …";
    const query = schema.targets.length > 1 ? `?target=${encodeURIComponent(byId("target").value)}` : "";
    const explained = await fetchJson(`/explain${query}`, build());
    if (number !== latest) return;
    byId("explanation").replaceChildren(...drawExplanation(explained));
    byId("status").textContent = "Predicted and explained.";
  } catch (error) {
    if (number === latest) showProblem(error);
  } finally {
    if (number === latest) button.disabled = false;
  }
}

function clearResult(status) {
  byId("status").textContent = status;
  for (const id of ["problem", "predictions", "explanation"]) byId(id).replaceChildren();
  document.querySelectorAll("[aria-invalid]").forEach((input) => input.removeAttribute("aria-invalid"));
}

function showProblem({ where, what, mend, name, message }) {
  byId("status").textContent = "";
  if (what === undefined) [where, what, mend] = ["page", `${name}: ${message}`, "reload it"];
  const column = where.replace(/^rows\[0\]\./, "");
  byId("problem").replaceChildren(make("strong", {}, column), ` ${what}`, make("p", { className: "quiet" }, mend));
  const input = byId(`file-${column}`) ?? byId(`cell-${column}`);
  if (input) {
    input.setAttribute("aria-invalid", "true");
    input.closest(".drop")?.setAttribute("aria-invalid", "true");
    input.focus();
  }
}

start();
