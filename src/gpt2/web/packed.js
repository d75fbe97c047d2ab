// How is an array of numbers read? Written by visual/gallery/packed.py.

/**
 * @typedef {{type: string, shape: number[], base64: string, low?: number, high?: number}} Packed
 * @typedef {{shape: number[], values: Float32Array | Int32Array}} Unpacked
 */

const HALVES = new Float32Array(65536); // every float16 as a number, filled when first needed

/**
 * Return the numbers of a packed array, the last axis running fastest.
 * @param {Packed} packed
 * @returns {Unpacked}
 */
export function unpack(packed) {
  const bytes = fromBase64(packed.base64);
  return { shape: packed.shape, values: READERS[packed.type](bytes.buffer, packed) };
}

/**
 * Return a part of an array without copying it: part(array, 2, 1) is array[2, 1].
 * @param {Unpacked} array
 * @param {...number} indices of its first axes
 * @returns {Unpacked}
 */
export function part(array, ...indices) {
  const shape = array.shape.slice(indices.length);
  const size = shape.reduce((product, n) => product * n, 1);
  const start = indices.reduce((at, index, axis) => at * array.shape[axis] + index, 0) * size;
  return { shape, values: array.values.subarray(start, start + size) };
}

const READERS = {
  float32: (buffer) => new Float32Array(buffer), // all of today's processors are little endian
  int32: (buffer) => new Int32Array(buffer),
  float16: (buffer) => lookedUp(new Uint16Array(buffer), halves()),
  uint8: (buffer, { low, high }) => {
    const values = Float32Array.from({ length: 256 }, (_, i) => low + (i * (high - low)) / 255);
    return lookedUp(new Uint8Array(buffer), values);
  },
};

function lookedUp(indices, table) {
  const values = new Float32Array(indices.length);
  for (let i = 0; i < indices.length; i++) values[i] = table[indices[i]];
  return values;
}

function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

function halves() {
  if (HALVES[0x3c00] !== 1) for (let bits = 0; bits < 65536; bits++) HALVES[bits] = half(bits);
  return HALVES;
}

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
