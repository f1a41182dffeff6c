/** Make an element. Strings become text, never markup. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Fetch JSON; throw {where, what, mend} if the server refuses, or does not answer. */
export async function fetchJson(path, options) {
  let response, body;
  try {
    response = await fetch(path, options);
    body = await response.json();
  } catch {
    throw { where: "server", what: "does not answer", mend: "check that mmrun serve still runs, and try again" };
  }
  if (!response.ok) throw body.error;
  return body;
}
