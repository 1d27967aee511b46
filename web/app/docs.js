/** The API's description for people: the OpenAPI document, as the server gives it. */

import { description } from "../core/api.js";
import { codeOf } from "../core/errors.js";
import { sentence, t } from "../core/strings.js";
import { el } from "./dom.js";
import { frame, notice } from "./frame.js";

/** @typedef {Record<string, any>} Json a part of an OpenAPI 3.1 document */

const METHODS = ["get", "post", "put", "patch", "delete"];

async function open() {
  const title = t("docs.title");
  let document;
  try {
    document = await description();
  } catch (error) {
    frame({ title, main: [notice({ title, text: sentence(codeOf(error)), tone: "bad" })] });
    return;
  }
  const groups = byTag(document);
  frame({
    title,
    main: [
      el(
        "section",
        { class: "panel" },
        el("h1", { class: "panel__title" }, `${document.info.title} ${title}`),
        el("p", {}, document.info.description),
        el("p", {}, el("a", { href: "/api/openapi.json" }, t("docs.document"))),
      ),
      ...[...groups].map(([tag, operations]) => group(tag, operations)),
      shapes(document.components.schemas),
    ],
  });
}

/**
 * @param {Json} document
 * @returns {Map<string, HTMLElement[]>}
 */
function byTag(document) {
  const groups = new Map();
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of METHODS.filter((name) => name in item)) {
      const described = item[method];
      const shared = [...(item.parameters ?? []), ...(described.parameters ?? [])];
      const tag = described.tags?.[0] ?? "";
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operation(method, path, { ...described, parameters: shared }));
    }
  }
  return groups;
}

/**
 * @param {string} tag
 * @param {HTMLElement[]} operations
 */
function group(tag, operations) {
  return el(
    "section",
    { class: "panel" },
    el("h2", { class: "panel__title" }, tag),
    el("div", { class: "rows" }, ...operations),
  );
}

/**
 * @param {string} method
 * @param {string} path
 * @param {Json} described
 */
function operation(method, path, described) {
  const body = Object.entries(described.requestBody?.content ?? {});
  return el(
    "details",
    { class: "docs__operation", id: described.operationId },
    el(
      "summary",
      {},
      el("span", { class: "docs__method" }, method.toUpperCase()),
      el("code", { class: "docs__path" }, path),
      el("span", { class: "row__facts" }, described.summary),
    ),
    el(
      "div",
      { class: "docs__more" },
      described.security ? el("p", { class: "hint" }, t("docs.signedIn")) : null,
      lines(t("docs.parameters"), described.parameters.map(parameter)),
      lines(t("docs.body"), body.flatMap(([type, { schema }]) => bodyLines(type, schema))),
      lines(t("docs.answers"), Object.entries(described.responses).map(response)),
    ),
  );
}

/**
 * @param {string} title
 * @param {HTMLElement[]} items
 */
function lines(title, items) {
  if (items.length === 0) return null;
  return el("div", {}, el("h3", {}, title), el("ul", { class: "docs__lines" }, ...items));
}

/** @param {Json} described */
function parameter(described) {
  const facts = [t("docs.in", { place: described.in }), kind(described.schema)];
  if (described.required) facts.push(t("docs.required"));
  if (described.description) facts.push(described.description);
  return line(described.name, facts);
}

/**
 * @param {string} type
 * @param {Json} schema
 */
function bodyLines(type, schema) {
  if (!schema.properties) return [line(type, [kind(schema)])];
  return Object.entries(schema.properties).map(([name, property]) => {
    const facts = [kind(property)];
    if (schema.required?.includes(name)) facts.push(t("docs.required"));
    return line(name, facts);
  });
}

/** @param {[string, Json]} entry */
function response([status, described]) {
  const types = Object.entries(described.content ?? {}).map(([type, { schema }]) =>
    schema.$ref ? `${type}: ${nameOf(schema.$ref)}` : type,
  );
  return line(status, [described.description, ...types]);
}

/**
 * @param {string} name
 * @param {string[]} facts
 */
function line(name, facts) {
  return el("li", {}, el("code", {}, name), ` ${facts.filter(Boolean).join(" · ")}`);
}

/**
 * A schema in a few words: its type and its bounds.
 * @param {Json} schema
 */
function kind(schema) {
  if (schema.$ref) return nameOf(schema.$ref);
  if (schema.enum) return schema.enum.join(" | ");
  const bounds = ["minLength", "maxLength", "minimum", "maximum", "default"]
    .filter((key) => key in schema)
    .map((key) => `${key} ${schema[key]}`);
  return [schema.format ?? schema.type, ...bounds].join(", ");
}

/** @param {string} reference */
function nameOf(reference) {
  return reference.slice(reference.lastIndexOf("/") + 1);
}

/** @param {Json} schemas */
function shapes(schemas) {
  const shape = (/** @type {[string, Json]} */ [name, schema]) =>
    el(
      "details",
      { class: "docs__operation" },
      el("summary", {}, el("code", {}, name)),
      el(
        "div",
        { class: "docs__more" },
        el("pre", { class: "docs__schema", tabIndex: 0 }, JSON.stringify(schema, null, 2)),
      ),
    );
  return el(
    "section",
    { class: "panel" },
    el("h2", { class: "panel__title" }, t("docs.shapes")),
    el("div", { class: "rows" }, ...Object.entries(schemas).map(shape)),
  );
}

void open();
