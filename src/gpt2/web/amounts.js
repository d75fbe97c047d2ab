// How are counts, bytes and times written?

const UNITS = [
  [1e9, "GB"],
  [1e6, "MB"],
  [1e3, "kB"],
];

/**
 * Write a number with commas between its thousands: 1,024.
 * @param {number} number
 */
export function withCommas(number) {
  return number.toLocaleString("en");
}

/**
 * Write a large number shortly: 124.4 million.
 * @param {number} count
 */
export function roughly(count) {
  if (count >= 1e9) return `${Number((count / 1e9).toPrecision(4))} billion`;
  if (count >= 1e6) return `${Number((count / 1e6).toPrecision(4))} million`;
  return withCommas(Math.round(count));
}

/** @param {number} bytes */
export function size(bytes) {
  const [unit, name] = UNITS.find(([least]) => bytes >= least) ?? [1, "bytes"];
  return `${Number((bytes / unit).toPrecision(3))} ${name}`;
}

/**
 * Write how long something lasts, in two units at most: 3 h 20 min.
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 24 * 60) return joined(Math.floor(minutes / 60), "h", minutes % 60, "min");
  const hours = Math.round(minutes / 60);
  return joined(Math.floor(hours / 24), "d", hours % 24, "h");
}

function joined(large, largeName, small, smallName) {
  return small ? `${large} ${largeName} ${small} ${smallName}` : `${large} ${largeName}`;
}
