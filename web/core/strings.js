/**
 * Every sentence of the pages, in one place: another language is another table like this one, in a
 * file `strings.{code}.js` beside it, and nothing else. `{name}` is filled in by `t`.
 */

const ENGLISH = {
  "app.name": "Lectern",
  "app.tagline": "Your screen and your voice, in front of the class at once.",
  "app.lead":
    "Share your screen, its sound and your microphone from this page. Students open a link and " +
    "watch. Nothing to install, nothing recorded.",
  "app.pointScreen": "Screen, sound and voice",
  "app.pointScreenText": "Sharp enough to read code and small print, there within a blink.",
  "app.pointLink": "One link for everybody",
  "app.pointLinkText": "Send it, or show it as a QR code. It works on a phone as well.",
  "app.pointAttendance": "Attendance, to the second",
  "app.pointAttendanceText": "Who was there, when and for how long, ready for your spreadsheet.",
  "nav.dashboard": "Dashboard",
  "nav.account": "Account",
  "nav.operator": "Server",
  "nav.signOut": "Sign out",
  "nav.skip": "Skip to content",
  "nav.language": "Language",
  "nav.api": "API",

  "sign.up": "Create account",
  "sign.in": "Sign in",
  "sign.name": "Name",
  "sign.nameHint": "As others in the class see it",
  "sign.email": "Email",
  "sign.password": "Password",
  "sign.passwordHint": "At least 8 characters",
  "sign.role": "I am a",
  "sign.teacher": "Teacher",
  "sign.student": "Student",
  "sign.doUp": "Create account",
  "sign.doIn": "Sign in",
  "sign.asStudent": "Sign in or create an account to join.",
  "sign.as": "Signed in as {name}",
  "sign.working": "One moment…",

  "dash.title": "Dashboard",
  "dash.teach": "Your classes",
  "dash.new": "New class",
  "dash.newTitle": "Title",
  "dash.newTitleHint": "For example: Algebra, Monday 9:00",
  "dash.capacity": "Places",
  "dash.create": "Create class",
  "dash.none": "No classes yet. Create the first one above.",
  "dash.open": "Open",
  "dash.start": "Start",
  "dash.details": "Details",
  "dash.more": "Show more",
  "dash.attended": "Classes you attended",
  "dash.noneAttended": "No classes yet. Open the link your teacher sent you.",
  "dash.inClass": "You are in “{title}” right now.",
  "dash.teachInstead": "Do you teach as well? Choose “Teacher” in your account, and create classes here.",

  "col.title": "Class",
  "col.created": "Created",
  "col.state": "State",
  "col.present": "Here now",
  "col.attendees": "Attended",
  "col.capacity": "Places",
  "col.duration": "Duration",
  "col.actions": "Actions",
  "col.teacher": "Teacher",
  "col.joined": "Came",
  "col.left": "Went",
  "col.stayed": "Was there",
  "col.lasted": "Class lasted",
  "col.name": "Name",
  "col.when": "When",
  "col.stillHere": "still here",
  "col.about": "about {value}",
  "col.aboutHint": "The connection was lost; this is the last moment that is certain.",

  "class.started": "Started",
  "class.ended": "Ended",
  "class.start": "Start class",
  "class.open": "Open the classroom",
  "class.end": "End class",
  "class.reopen": "Open it again",
  "class.reopenHint": "Within 15 minutes of its end a class can go on, with the same link.",
  "class.link": "Student link",
  "class.linkHint": "Whoever has this link can join, up to the number of places.",
  "class.qr": "Show QR code",
  "class.qrHide": "Hide QR code",
  "class.qrAlt": "QR code of the student link",
  "class.rotate": "Replace link…",
  "class.rotateAsk": "Replace the link?",
  "class.rotateText":
    "The old link stops working at once. Students who are in the class stay; everybody else needs the new link.",
  "class.rotateYes": "Replace link",
  "class.rotateNo": "Keep it",
  "class.rotated": "The link is replaced. Send the new one to your students.",
  "class.settings": "Title and places",
  "class.save": "Save",
  "class.saved": "Saved.",

  "att.title": "Attendance",
  "att.csv": "Download CSV",
  "att.refresh": "Refresh",
  "att.none": "Nobody has been here yet.",
  "att.notStarted": "Who was there, and when, is listed here once the class has started.",
  "att.reading": "Reading… {count}",
  "att.people.one": "1 person",
  "att.people.other": "{count} people",
  "att.peak": "{count} at once, at most",
  "att.picture": "Who was there from {start} to {end}: {people}, {peak}.",
  "att.cut": "The first {count} are shown. The CSV has everybody.",
  "att.stays": "{count} times",

  "ops.title": "Server",
  "ops.nodes": "Nodes",
  "ops.node": "Node",
  "ops.classes": "Live classes",
  "ops.sessions": "Sessions",
  "ops.egress": "Sent",
  "ops.cpu": "CPU",
  "ops.cores": "{cores} cores",
  "ops.lag": "Lag",
  "ops.ms": "{ms} ms",
  "ops.nodeClasses": "Classes",
  "ops.up": "since {time}",
  "ops.beat": "Last heard",
  "ops.ago": "{seconds} s ago",
  "ops.since": "Since",
  "ops.of": "{present} of {capacity}",
  "ops.unplaced": "not placed yet",
  "ops.noNodes": "No node is registered: nobody can teach or watch.",
  "ops.noClasses": "No class is live.",
  "ops.fullest": "The fullest classes, at most 50. Shown: {count}.",
  "ops.search": "A part of the title, or the id",
  "ops.find": "Search",
  "ops.found": "Classes found",
  "ops.foundAll": "Found: {count}.",
  "ops.foundSome": "There may be more: the newest 100,000 live classes are searched, and 50 are shown.",
  "ops.notFound": "No live class has this in its title or as its id.",
  "ops.fullestAgain": "Show the fullest",
  "ops.asOf": "As of {time}, renewed by itself.",
  "ops.stale": "Not renewed since {time}. {why}",
  "ops.state.serving": "serving",
  "ops.state.draining": "draining",
  "ops.state.unreachable": "unreachable",
  "ops.state.dead": "dead",
  "ops.yours": "You are an operator: see nodes and live classes",

  "account.title": "Your account",
  "account.signedInAs": "Signed in as {email}",
  "account.profile": "Name and role",
  "account.save": "Save",
  "account.saved": "Saved.",
  "account.password": "Change password",
  "account.passwordHint":
    "A new password signs you out everywhere else and revokes your access tokens.",
  "account.currentPassword": "Current password",
  "account.newPassword": "New password",
  "account.passwordSaved": "The password is changed. You are signed out everywhere else.",
  "account.sessions": "Where you are signed in",
  "account.session": "{client} · signed in {created}, last used {used}",
  "account.unknownClient": "Unknown program",
  "account.current": "This one",
  "account.endSession": "Sign out",
  "account.endOthers": "Sign out everywhere else",
  "account.tokens": "Access tokens",
  "account.tokensHint": "For OBS and scripts: whoever has a token can do all that you can.",
  "account.tokenName": "Name of the program",
  "account.createToken": "Create token",
  "account.newToken": "Copy the token “{name}” now. It is not shown again.",
  "account.theToken": "Access token",
  "account.copyToken": "Copy token",
  "account.token": "created {created}, last used {used}",
  "account.tokenUnused": "created {created}, never used",
  "account.deleteToken": "Revoke",
  "account.noTokens": "No tokens.",
  "account.data": "Your data",
  "account.export": "Download everything kept of you",
  "account.delete": "Delete account",
  "account.deleteAsk":
    "Delete your account for good? Your attendance stays in your teachers’ lists, without your name.",
  "account.deleteYes": "Delete for good",
  "account.deleteNo": "Keep it",

  "docs.title": "API",
  "docs.signedIn": "Signed in",
  "docs.parameters": "Parameters",
  "docs.body": "Body",
  "docs.answers": "Answers",
  "docs.required": "required",
  "docs.shapes": "Shapes of answers",
  "docs.document": "The OpenAPI document",
  "docs.in": "in {place}",

  "state.created": "Not started",
  "state.live": "Live",
  "state.ended": "Ended",

  "link.label": "Student link",
  "link.copy": "Copy link",
  "link.copied": "Copied",

  "teach.start": "Start class",
  "teach.end": "End class",
  "teach.endAsk": "End this class for everybody?",
  "teach.endYes": "End class",
  "teach.endNo": "Keep going",
  "teach.startHint": "Students who open the link wait until you start.",
  "teach.share": "Share screen",
  "teach.shareOther": "Share something else",
  "teach.unshare": "Stop sharing",
  "teach.micOn": "Turn mic on",
  "teach.micOff": "Turn mic off",
  "teach.level": "Microphone level",
  "teach.preview": "Preview of your shared screen",
  "teach.notSharing": "You are not sharing your screen",
  "teach.notSharingHint": "Choose a tab, a window or the whole screen. Students hear you while your mic is on.",
  "teach.sharing": "Students see this",
  "teach.sharingSound": "Screen and sound are shared",
  "teach.sharingSilent": "Screen is shared without sound",
  "teach.shareEnded": "Sharing has stopped. Students keep the last picture until you share again.",
  "teach.shareAgain": "You are live again. Share your screen to go on.",
  "teach.micEnded": "The microphone was disconnected. Turn it on again to be heard.",
  "teach.more": "More settings",
  "teach.format": "Video format",
  "teach.formatHint": "Every browser plays VP8. Students whose browser lacks another one are told.",
  "teach.formatVP8": "VP8 (standard)",
  "teach.formatVP9": "VP9",
  "teach.formatH264": "H.264",
  "teach.formatAV1": "AV1 (sharper on a slow line, needs a fast computer)",
  "teach.formatEased": "This computer cannot keep up with the format, so it sends VP8 now.",
  "teach.content": "What you share",
  "teach.content.auto": "Found out by itself",
  "teach.content.text": "Text and slides",
  "teach.content.motion": "Film and animation",
  "teach.contentHint": "Text stays sharp and may move less; film moves smoothly and may be softer.",
  "teach.formatStays": "This browser cannot change the format now. It is used from the next start on.",
  "teach.watching.one": "1 student watching",
  "teach.watching.other": "{count} students watching",
  "teach.ended": "This class has ended",
  "teach.back": "To the dashboard",
  "teach.connecting": "Going live…",
  "teach.connected": "Connected",
  "teach.reconnecting": "Reconnecting…",
  "teach.reconnectingHint": "Students keep the last picture. This page tries again by itself.",
  "teach.replaced": "This class is being taught from another tab or device.",
  "teach.replacedHint": "Only one can send at a time.",
  "teach.takeBack": "Teach from here",

  "watch.with": "with {teacher}",
  "watch.waiting": "The class has not started yet",
  "watch.waitingHint": "Stay here: it begins by itself when your teacher starts.",
  "watch.joining": "Joining…",
  "watch.noPicture": "Your teacher is not showing a screen yet",
  "watch.noPictureHint": "You hear your teacher as soon as they speak.",
  "watch.paused": "Your teacher is not sharing right now",
  "watch.unsupported": "This browser cannot play your teacher’s picture",
  "watch.unsupportedHint":
    "You still hear the class. Open the link in a current Chrome, Edge or Safari, or ask your teacher " +
    "to set the video format to VP8.",
  "watch.unmute": "Turn sound on",
  "watch.unmuteHint": "Your browser waits for a click before it plays sound.",
  "watch.leave": "Leave",
  "watch.left": "You left the class",
  "watch.rejoin": "Join again",
  "watch.ended": "This class has ended",
  "watch.endedHint": "Thank you for being there.",
  "watch.dead": "This link does not lead to a class",
  "watch.deadHint": "It may have been replaced or cut short. Ask your teacher for the current link.",
  "watch.full": "This class is full",
  "watch.fullHint.one":
    "The only place is taken. This page joins by itself as soon as it is free.",
  "watch.fullHint.other":
    "All {count} places are taken. This page joins by itself as soon as one is free.",
  "watch.own": "This is your own class",
  "watch.ownHint": "Students use this link. You teach from your own page.",
  "watch.ownOpen": "Open your class",
  "watch.elsewhere": "You are in another class right now",
  "watch.elsewhereHint": "You are in “{title}” right now. You can be in one class at a time.",
  "watch.teaching": "You are teaching right now",
  "watch.teachingHint": "“{title}” goes on with you in it. End it before you join another class.",
  "watch.takeover": "Leave that class and join this one",
  "watch.replaced": "You are watching somewhere else",
  "watch.replacedHint": "A class was opened in another tab or on another device of yours.",
  "watch.takeBack": "Watch here instead",
  "watch.reconnecting": "Connection lost. Reconnecting…",
  "watch.unreachable": "The class cannot be reached",
  "watch.unreachableHint": "Check your internet connection, then try again.",
  "watch.retry": "Try again",
  "watch.blocked":
    "The server answers, but sound and picture do not get through. A firewall or VPN may block " +
    "them: try another network.",
  "watch.firefoxLoopback":
    "This class runs on this computer only, and Firefox does not play media from its own computer. " +
    "Open the link in Chromium or Chrome, or ask the teacher to start Lectern with --host and this " +
    "computer’s network address (with --tls-cert and --tls-key).",
  "watch.noWebrtc":
    "This browser cannot play live classes. Open the link in a current Chrome, Edge, Firefox or " +
    "Safari.",
  "watch.teacherAway": "Your teacher is reconnecting…",
  "watch.count.one": "1 student here",
  "watch.count.other": "{count} students here",
  "watch.screen": "Your teacher’s screen",

  "chat.title": "Comments",
  "chat.none": "Nobody has written anything yet.",
  "chat.placeholder": "Write a comment",
  "chat.send": "Send",
  "chat.newer": "{count} new",
  "chat.teacher": "Teacher",
  "chat.pause": "Pause comments",
  "chat.resume": "Allow comments",
  "chat.paused": "Your teacher has paused comments.",
  "chat.pausedByYou": "Comments are paused. Only you can write.",
  "chat.missed": "{count} comments were too fast for this connection.",

  "teach.mic": "Microphone",
  "teach.micHint": "Try it out: the bar moves when you speak. Nobody hears you before you start.",
  "teach.micDevice": "Which microphone",
  "teach.pause": "Pause sharing",
  "teach.resume": "Go on sharing",
  "teach.paused": "Paused: students keep the last picture",
  "teach.pausedHint":
    "Students keep the last picture and are told that you have paused. Your mic stays as it is.",
  "teach.silent.tab":
    "The tab’s sound is not shared. To share it, choose “Share something else”, the tab, and switch on “Also share tab audio”.",
  "teach.silent.window":
    "A window comes without its sound. To share sound, choose a browser tab and switch on “Also share tab audio”.",
  "teach.silent.screen":
    "A whole screen comes without sound on this system. To share sound, choose a browser tab and switch on “Also share tab audio”.",
  "teach.silent.screenWindows":
    "The system’s sound is not shared. To share it, choose “Share something else”, the screen, and switch on “Also share system audio”.",
  "teach.silent.browser":
    "This browser shares pictures only. To share sound as well, teach from Chrome or Edge on a computer.",
  "teach.glance": "Students get {size}, {frames}/s, {rate} Mbit/s, {lost} % lost.",
  "teach.trouble.line": "Your line is too slow for more: a cable helps, and closing other downloads.",
  "teach.trouble.computer": "This computer is too busy for more: close other programs, or share a single tab.",
  "teach.peak": "Most at once",
  "teach.attendance": "Show attendance",
  "watch.sharePaused": "Your teacher has paused the screen",
  "watch.sharePausedHint": "It goes on by itself. You hear your teacher while their mic is on.",
  "tools.zoom": "Zoom in (+)",
  "tools.zoomReset": "Whole picture (0)",
  "tools.zoomAt": "{percent} %, back to the whole picture",
  "facts.title": "About this class and your connection",
  "facts.running": "Running for",
  "quality.unknown": "Your connection is being measured.",
  "quality.good": "Your connection is good.",
  "quality.poor.loss":
    "Your connection is poor: some of what is sent gets lost. Move closer to the Wi-Fi, or use a cable.",
  "quality.poor.frozen":
    "Your connection is poor: the picture stood still for moments. Close other downloads or videos.",
  "quality.poor.sound": "Your connection is poor: the sound has small gaps. Close other downloads or videos.",
  "quality.bad.loss": "Your connection is bad: much of what is sent gets lost. Try another network.",
  "quality.bad.frozen": "Your connection is bad: the picture keeps standing still. Try another network.",
  "quality.bad.sound": "Your connection is bad: the sound breaks up. Try another network.",
  "quality.frames": "{frames} pictures/s",
  "quality.rate": "{rate} Mbit/s",
  "quality.lost": "{lost} % lost",
  "side.label": "Class",
  "people.title": "People",
  "people.none": "Nobody is here yet.",
  "people.large": "In a class of this size names are read page by page.",
  "people.more": "Show more",
  "people.again": "Read again",
  "people.you": "you",
  "people.away": "reconnecting…",
  "tools.label": "Picture and sound",
  "tools.mute": "Mute (M)",
  "tools.volumes": "Volume",
  "tools.mic": "Teacher’s voice",
  "tools.screen_audio": "Sound of the screen",
  "tools.fill": "Fill the window (Z)",
  "tools.pip": "Small window (P)",
  "tools.full": "Full screen (F)",
  "watch.ownTime": "You were here {own} of {whole}.",
  "watch.leftHint": "You can come back while the class goes on.",

  "error.comment_empty": "There is nothing to read in this comment.",
  "error.comment_too_long": "This comment is too long. Shorten it and send it again.",
  "error.comment_too_fast": "You are writing very fast. Wait a second, then send it again.",
  "error.comment_busy": "So many are writing that this one had no room. Send it again in a moment.",
  "error.comment_paused": "Your teacher has paused comments.",
  "error.comment_interrupted": "The connection was lost. Send the comment again if you do not see it.",
  "error.title": "Something is in the way",
  "error.invalid_request": "Something in the form is not right: {detail}",
  "error.not_found": "This does not exist, or not any more.",
  "error.not_signed_in": "You are not signed in. Sign in to go on.",
  "error.wrong_credentials": "Email or password is wrong. Check both and try again.",
  "error.wrong_password": "The current password is wrong.",
  "error.password_common":
    "This password is too easy to guess: it is one of those tried first, or your name or address. Choose another one.",
  "error.bad_origin": "The page was opened under another address than the server's own. Reload it.",
  "error.not_teacher": "Only teachers create classes. Change your role in your account first.",
  "error.not_operator": "Only who runs this server sees this page.",
  "error.not_owner": "This class belongs to another teacher.",
  "error.link_invalid": "This link does not lead to a class. Ask your teacher for the current one.",
  "error.class_not_live": "The class has not started yet.",
  "error.class_ended": "The class has ended.",
  "error.class_full": "The class is full. Try again when somebody has left.",
  "error.active_elsewhere": "You are in another class right now. Leave it first.",
  "error.own_class": "This is your own class: open it from your dashboard.",
  "error.role_busy": "You are in a class right now. Leave it, then try again.",
  "error.email_taken": "There is an account with this email already. Sign in instead.",
  "error.capacity_below_used": "More students are in the class than that. Choose a larger number.",
  "error.bad_offer": "The server cannot use what this browser offers. Update the browser.",
  "error.too_large": "That is too long. Shorten it and try again.",
  "error.rate_limited": "Too many tries. Wait a little, then try again.",
  "error.no_capacity": "The server is full at the moment. Wait a little, then try again.",
  "error.try_again": "The server is busy at the moment. Try again in a few seconds.",
  "error.method_not_allowed": "This does not work here. Reload the page and try again.",
  "error.internal": "Something went wrong on the server. Try again; if it stays, tell who runs it.",
  "error.replaced": "You went on in another tab or on another device. Continue there, or reload here.",
  "error.network": "The server cannot be reached. Check your connection and try again.",
  "error.bad_answer": "The server gave an answer that makes no sense here. Reload the page.",
  "error.unexpected": "Something unexpected happened. Reload the page and try again.",
  "error.browser_NotAllowedError":
    "The browser did not allow it. Allow it beside the address bar, then try again.",
  "error.browser_NotFoundError": "No microphone was found. Connect one, then try again.",
  "error.browser_NotReadableError":
    "The device is in use by another program. Close that program, then try again.",
  "error.no_capture":
    "This browser cannot share a screen here. Use Chrome, Edge or Chromium on a computer, over " +
    "https or on localhost.",
};

/** @typedef {keyof typeof ENGLISH} Key */

export const FIRST_LANGUAGE = "en";

/** @type {Record<Key, string>} */
let words = ENGLISH;
let language = FIRST_LANGUAGE;

/**
 * Say everything in this language from now on; before anything is shown.
 * @param {string} code of a table beside this file, or of the first language
 */
export async function speak(code) {
  if (code !== FIRST_LANGUAGE) {
    /** @type {{default: Record<Key, string>}} */
    const table = await import(`./strings.${code}.js`);
    words = { ...ENGLISH, ...table.default };
  }
  language = code;
}

/** All keys, for those who compare tables. */
export const keys = () => Object.keys(ENGLISH);

/**
 * The name of a language in itself.
 * @param {string} code
 */
export function languageName(code) {
  return new Intl.DisplayNames([code], { type: "language" }).of(code) ?? code;
}

/** How numbers and times are written: as the reader's own region does, where it speaks this language. */
function locale() {
  return navigator.languages.find((wish) => wish.split("-")[0] === language) ?? language;
}

/**
 * @param {Key} key
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  return words[key].replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name] ?? whole;
    return typeof value === "number" ? value.toLocaleString(locale()) : value;
  });
}

/**
 * @param {"teach.watching" | "watch.count" | "watch.fullHint" | "att.people"} key
 * @param {number} count
 */
export function counted(key, count) {
  return t(count === 1 ? `${key}.one` : `${key}.other`, { count });
}

/**
 * The sentence for an error's code.
 * @param {string} code
 * @param {string} [detail] the server's own sentence, used where it says which field is wrong
 */
export function sentence(code, detail = "") {
  const key = /** @type {Key} */ (`error.${code}`);
  return t(key in ENGLISH ? key : "error.unexpected", { detail });
}

/**
 * @param {number} seconds
 * @returns {string} "45 s", "12 min" or "1 h 05 min"
 */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

/**
 * A time that runs.
 * @param {number} seconds
 * @returns {string} "4:05" or "1:04:05"
 */
export function stopwatch(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (/** @type {number} */ part) => String(part).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/**
 * Day and time where the reader is.
 * @param {string | number} time RFC 3339, or milliseconds since 1970
 */
export function moment(time) {
  return new Date(time).toLocaleString(locale(), { dateStyle: "medium", timeStyle: "short" });
}

/**
 * The time of day where the reader is, to the second.
 * @param {string | number} time RFC 3339, or milliseconds since 1970
 */
export function clock(time) {
  return new Date(time).toLocaleTimeString(locale(), { timeStyle: "medium" });
}

/** @param {number} value */
export function number(value) {
  return value.toLocaleString(locale());
}
