// Where values lie in a picture, and which of them are written beside it. No elements here.

// Three or four round numbers from 0 up to at least `highest`.
export function ticks(highest, isWhole = false) {
  if (!(highest > 0)) return isWhole ? [0, 1] : [0, 1];
  const rough = highest / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.999);
  if (isWhole) step = Math.max(1, Math.ceil(step));
  const found = [];
  for (let index = 0; index * step < highest * 1.0001 + step * 0.999 && index < 6; index += 1) {
    found.push(Number((index * step).toPrecision(12)));
  }
  return found;
}

const STEPS_S = [10, 30, 60, 120, 300, 600, 900, 1800, 3600];

// Round moments between two, so that at most `most` of them are written.
export function timeTicks(from, to, most) {
  const step = STEPS_S.find((each) => (to - from) / each <= most) ?? 7200;
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push(at);
  return { step, at: found };
}

// Points of a line, broken where a value is missing; `isStep` holds each value until the next one.
export function path(values, x, y, isStep = false) {
  let text = "";
  let isDrawing = false;
  let last = 0;
  values.forEach((value, index) => {
    if (value === null || value === undefined) {
      isDrawing = false;
      return;
    }
    const left = x(index).toFixed(1);
    const top = y(value).toFixed(1);
    if (!isDrawing) text += `M${left} ${top}`;
    else text += isStep ? `H${left}${value === last ? "" : `V${top}`}` : `L${left} ${top}`;
    if (!isDrawing && (index === values.length - 1 || (values[index + 1] ?? null) === null)) text += "h.01";
    isDrawing = true;
    last = value;
  });
  return text;
}

// The same with the surface below it, for values without gaps.
export function area(values, x, y) {
  if (values.length < 2) return "";
  const line = path(values.map((value) => value ?? 0), x, y);
  return `${line}L${x(values.length - 1).toFixed(1)} ${y(0).toFixed(1)}L${x(0).toFixed(1)} ${y(0).toFixed(1)}Z`;
}

// So few values that a screen can show them: each stands for `every` of them, by its highest, so no peak is lost.
export function thin(values, every) {
  if (every <= 1) return values;
  const found = [];
  for (let index = 0; index < values.length; index += every) {
    let highest = null;
    for (const value of values.slice(index, index + every)) {
      if (value !== null && (highest === null || value > highest)) highest = value;
    }
    found.push(highest);
  }
  return found;
}

export function lastKnown(values) {
  for (let index = values.length - 1; index >= 0; index -= 1) if (values[index] !== null) return values[index];
  return null;
}
