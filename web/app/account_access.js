/** Who and what has access to the account: browsers that are signed in, programs with a token. */

import * as api from "../core/api.js";
import { moment, t } from "../core/strings.js";
import { button, el } from "./dom.js";
import { linkBox } from "./link_box.js";
import { form, part, sentenceOf } from "./parts.js";
import { NAME_CHARACTERS_MAX, field } from "./sign_in.js";

/** @typedef {import("../core/api.js").Session} Session */
/** @typedef {import("../core/api.js").Token} Token */

/**
 * A list that is read anew after each change, and says what went wrong in its place.
 * @template T
 * @param {() => Promise<{items: T[]}>} ask
 * @param {(item: T, change: (act: () => Promise<unknown>) => Promise<void>) => HTMLElement} row
 * @param {string} none
 */
function list(ask, row, none) {
  const rows = el("ul", { class: "rows" });
  const error = el("p", { class: "form__error", role: "alert" });

  async function read() {
    const { items } = await ask();
    rows.replaceChildren(...items.map((item) => row(item, change)));
    if (items.length === 0) rows.append(el("li", { class: "rows__none" }, none));
  }

  /** @param {() => Promise<unknown>} act */
  async function change(act) {
    error.textContent = "";
    // The button that was pressed goes with its row; the keyboard's place must not go with it.
    const held = rows.contains(document.activeElement);
    try {
      await act();
      await read();
    } catch (thrown) {
      error.textContent = sentenceOf(thrown);
    }
    if (held && !rows.contains(document.activeElement)) rows.focus();
  }

  rows.tabIndex = -1;
  void change(async () => {});
  return { element: el("div", { class: "part" }, error, rows), change };
}

/** Where one is signed in. */
export function sessions() {
  const { element, change } = list(api.sessions, sessionRow, "");
  return part(
    t("account.sessions"),
    element,
    el(
      "div",
      { class: "part__actions" },
      button(t("account.endOthers"), () => change(api.endOtherSessions)),
    ),
  );
}

/**
 * @param {Session} session
 * @param {(act: () => Promise<unknown>) => Promise<void>} change
 */
function sessionRow(session, change) {
  const facts = t("account.session", {
    client: session.client || t("account.unknownClient"),
    created: moment(session.created_at),
    used: moment(session.used_at),
  });
  return el(
    "li",
    { class: "row" },
    el("p", { class: "row__what" }, facts),
    session.current
      ? el("span", { class: "chip" }, t("account.current"))
      : button(t("account.endSession"), () => change(() => api.endSession(session.id))),
  );
}

/** What programs sign in with. */
export function tokens() {
  const fresh = el("div", { class: "part", role: "status" });
  const { element, change } = list(api.tokens, tokenRow, t("account.noTokens"));
  const act = async (/** @type {FormData} */ data, /** @type {HTMLFormElement} */ made) => {
    const token = await api.createToken(String(data.get("name")));
    fresh.replaceChildren(
      el("p", {}, t("account.newToken", { name: token.name })),
      linkBox(token.token, { label: t("account.theToken"), copy: t("account.copyToken") }),
    );
    made.reset();
    await change(async () => {});
    return "";
  };
  const name = field("name", t("account.tokenName"), {
    maxLength: NAME_CHARACTERS_MAX,
    autocomplete: "off",
    placeholder: "OBS",
  });
  return part(
    t("account.tokens"),
    el("p", { class: "hint" }, t("account.tokensHint")),
    form("form--pair", t("account.createToken"), act, name),
    fresh,
    element,
  );
}

/**
 * @param {Token} token
 * @param {(act: () => Promise<unknown>) => Promise<void>} change
 */
function tokenRow(token, change) {
  const created = moment(token.created_at);
  const facts = token.used_at
    ? t("account.token", { created, used: moment(token.used_at) })
    : t("account.tokenUnused", { created });
  return el(
    "li",
    { class: "row" },
    el(
      "div",
      { class: "row__what" },
      el("span", { class: "row__title", dir: "auto" }, token.name),
      el("p", { class: "row__facts" }, facts),
    ),
    button(t("account.deleteToken"), () => change(() => api.deleteToken(token.id))),
  );
}
