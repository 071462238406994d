// Turns numbers and times into short text for people.

const number = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const dateTime = new Intl.DateTimeFormat("en-GB", {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

/** 12345 -> "12,345" */
export const count = (value) => (value === null || value === undefined ? "–" : number.format(value));

/** 12345 -> "12.3K" */
export const short = (value) => (value === null || value === undefined ? "–" : compact.format(value));

/** 3725 s -> "1 h 2 min" */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return seconds === 0 ? "0 s" : `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 10) return `${Math.round(seconds * 10) / 10} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return both(minutes, "min", whole % 60, "s");
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return both(hours, "h", minutes % 60, "min");
  return both(Math.floor(hours / 24), "d", hours % 24, "h");
}

const both = (large, unit, small, smallUnit) => `${large} ${unit}${small ? ` ${small} ${smallUnit}` : ""}`;

/** Return a time in the reader's time zone. `seconds` is the number of seconds since 1970. */
export function time(seconds) {
  return seconds === null || seconds === undefined ? "–" : dateTime.format(new Date(seconds * 1000));
}

/** "12 s ago" or "in 5 min", in one unit */
export function ago(seconds, now = Date.now() / 1000) {
  if (seconds === null || seconds === undefined) return "–";
  const passed = now - seconds;
  if (Math.abs(passed) < 1) return "now";
  return passed > 0 ? `${coarse(passed)} ago` : `in ${coarse(-passed)}`;
}

function coarse(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** 1536 -> "1.5 KiB" */
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? size : size.toFixed(1)} ${units[unit]}`;
}

/** 0.256 -> "26%" */
export const share = (value) => (value === null || value === undefined ? "–" : `${Math.round(value * 100)}%`);
