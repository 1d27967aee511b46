/** The part of the dashboard in which a person changes, takes along or deletes the account. */

import * as api from "../core/api.js";
import { LecternError, codeOf } from "../core/errors.js";
import { sentence, t } from "../core/strings.js";
import { button, el, show } from "./dom.js";
import { status } from "./frame.js";
import { linkBox } from "./link_box.js";
import { PASSWORD_CHARACTERS_MIN, field, roles } from "./sign_in.js";

/** @typedef {import("../core/api.js").User} User */
/** @typedef {import("../core/api.js").Session} Session */
/** @typedef {import("../core/api.js").Token} Token */

const NAME_CHARACTERS_MAX = 100;
const PASSWORD_CHARACTERS_MAX = 256;

/** @param {User} user */
export function accountPanel(user) {
  return el(
    "section",
    { class: "panel", id: "account", "aria-labelledby": "account-title" },
    el("h2", { class: "panel__title", id: "account-title" }, t("account.title")),
    profile(user),
    password(user),
    sessions(),
    tokens(),
    data(),
  );
}

/**
 * A titled part of the panel.
 * @param {string} title
 * @param {...import("./dom.js").Child} children
 */
function part(title, ...children) {
  return el("div", { class: "part" }, el("h3", { class: "part__title" }, title), ...children);
}

/**
 * A form that says what became of it.
 * @param {string} kind a class of its own
 * @param {string} label of its button
 * @param {(data: FormData, form: HTMLFormElement) => Promise<string>} act returns what to say
 * @param {...HTMLElement} fields
 */
function form(kind, label, act, ...fields) {
  const error = el("p", { class: "form__error", role: "alert" });
  const said = status();
  const submit = el("button", { type: "submit", class: "button" }, label);
  const made = el("form", { class: `form box ${kind}` }, ...fields, submit, error, said);
  made.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    error.textContent = said.textContent = "";
    try {
      said.textContent = await act(new FormData(made), made);
    } catch (thrown) {
      error.textContent = sentenceOf(thrown);
    } finally {
      submit.disabled = false;
    }
  });
  return made;
}

/** @param {unknown} thrown */
function sentenceOf(thrown) {
  return sentence(codeOf(thrown), thrown instanceof LecternError ? thrown.detail : "");
}

/** @param {User} user */
function profile(user) {
  const act = async (/** @type {FormData} */ data) => {
    const role = String(data.get("role"));
    const changed = await api.changeMe({ name: String(data.get("name")), role });
    // The page is another one for another role, and the name stands in the bar.
    if (changed.role !== user.role || changed.name !== user.name) location.reload();
    return t("account.saved");
  };
  const name = field("name", t("sign.name"), {
    value: user.name,
    autocomplete: "name",
    maxLength: NAME_CHARACTERS_MAX,
  });
  return part(t("account.profile"), form("", t("account.save"), act, name, roles(user.role)));
}

/** @param {User} user */
function password(user) {
  const act = async (/** @type {FormData} */ data, /** @type {HTMLFormElement} */ made) => {
    await api.changeMe({ password: String(data.get("password")) });
    made.reset();
    return t("account.passwordSaved");
  };
  return part(
    t("account.password"),
    el("p", { class: "hint" }, t("account.passwordHint")),
    form(
      "form--pair",
      t("account.password"),
      act,
      // So that password managers know whose it is.
      el("input", {
        type: "email",
        name: "email",
        autocomplete: "username",
        value: user.email,
        hidden: true,
        readOnly: true,
      }),
      field("password", t("account.newPassword"), {
        type: "password",
        autocomplete: "new-password",
        minLength: PASSWORD_CHARACTERS_MIN,
        maxLength: PASSWORD_CHARACTERS_MAX,
      }),
    ),
  );
}

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

function sessions() {
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
    created: when(session.created_at),
    used: when(session.used_at),
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

function tokens() {
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
  const created = when(token.created_at);
  const facts = token.used_at
    ? t("account.token", { created, used: when(token.used_at) })
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

function data() {
  const error = el("p", { class: "form__error", role: "alert" });
  const ask = button(t("account.delete"), () => turn(true), { kind: "danger" });
  const keep = button(t("account.deleteNo"), () => turn(false));
  const asked = el(
    "div",
    { class: "box part", role: "group", "aria-label": t("account.delete"), hidden: true },
    el("p", {}, t("account.deleteAsk")),
    el(
      "div",
      { class: "part__actions" },
      keep,
      button(t("account.deleteYes"), remove, { kind: "danger" }),
    ),
  );

  /** @param {boolean} asking */
  function turn(asking) {
    error.textContent = "";
    show(asked, asking);
    show(ask, !asking);
    (asking ? keep : ask).focus();
  }

  async function remove() {
    try {
      await api.deleteMe();
      location.assign("/");
    } catch (thrown) {
      turn(false);
      error.textContent = sentenceOf(thrown);
    }
  }

  return part(
    t("account.data"),
    el(
      "div",
      { class: "part__actions" },
      el("a", { class: "button", href: api.EXPORT_URL, download: "" }, t("account.export")),
      ask,
    ),
    asked,
    error,
  );
}

/** @param {string} time RFC 3339 */
function when(time) {
  return new Date(time).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}
