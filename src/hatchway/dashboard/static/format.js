// Numbers, moments and sizes in words. Digits are few: what moves every two seconds must be read at a glance.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const clockSeconds = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });

export const NOTHING = "–";

export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NOTHING;
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e9)) return value.toExponential(1);
  if (Number.isInteger(value) || size >= 100) return whole.format(value);
  return String(Number(value.toFixed(size < 1 ? 3 : size < 10 ? 2 : 1)));
}

export function count(value) {
  return value === null || value === undefined ? NOTHING : whole.format(value);
}

export function rate(value) {
  if (value === null || value === undefined) return NOTHING;
  if (value >= 100) return whole.format(value);
  return value.toFixed(value === 0 ? 0 : value < 10 ? 2 : 1);
}

export function ms(value) {
  if (value === null || value === undefined) return NOTHING;
  if (value >= 9950) return `${(value / 1000).toFixed(0)} s`;
  if (value >= 995) return `${(value / 1000).toFixed(2)} s`;
  return value < 9.95 ? `${value.toFixed(1)} ms` : `${value.toFixed(0)} ms`;
}

export function percent(share) {
  if (share === null || share === undefined || Number.isNaN(share)) return NOTHING;
  const value = share * 100;
  if (value === 0) return "0 %";
  return value < 0.1 ? "<0.1 %" : `${value.toFixed(value < 10 ? 1 : 0)} %`;
}

export function bytes(value) {
  if (value === null || value === undefined) return NOTHING;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let index = 0;
  while (value >= 1024 && index < units.length - 1) {
    value /= 1024;
    index += 1;
  }
  return `${value.toFixed(value < 10 && index ? 1 : 0)} ${units[index]}`;
}

export function span(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86400)}d`;
}

export function age(moment) {
  const at = Date.parse(moment);
  return Number.isNaN(at) ? NOTHING : span((Date.now() - at) / 1000);
}

export function ago(moment) {
  const found = age(moment);
  return found === NOTHING ? found : `${found} ago`;
}

export function moment(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? NOTHING : `${day.format(at)} ${clockSeconds.format(at)}`;
}

export const time = (seconds) => clock.format(seconds * 1000);
export const timeSeconds = (seconds) => clockSeconds.format(seconds * 1000);
export const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
