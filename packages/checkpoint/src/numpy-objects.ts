/** NumPy's arrays and scalars in pickles. Format: numpy, `ndarray.__reduce__` and `dtype.__reduce__`. */
import { byteLength, type DType, type NdArray } from "@aligntok/core";
import { decodeElements } from "./npy.ts";
import { parseDescr } from "./npy-header.ts";
import { type PickleName, type PickleValue, setState, textOf } from "./pickle.ts";

/** As in NumPy 2. */
const mostDimensions = 64;

/** What `numpy.dtype` is called with, and the byte order that its state adds. */
interface PickledDType {
  readonly className: "numpy.dtype";
  readonly code: string;
  order: string;
}

/** The functions that pickles of NumPy name, also by the names of NumPy 2. */
export function findNumpy(module: string, name: string): PickleName["call"] {
  const full = `${module.replace(/^numpy\._core\b/, "numpy.core")}.${name}`;
  switch (full) {
    case "numpy.dtype":
      return ([code]) => describeDType(textOf(code));
    case "numpy.core.multiarray._reconstruct":
      return blankArray;
    case "numpy.core.multiarray.scalar":
      return ([dtype, bytes]) => scalarOf(dtype, bytes);
    case "numpy.core.numeric._frombuffer":
      return ([bytes, dtype, shape, order]) =>
        arrayOf(dtype, shape, { bytes, isFortran: order === "F" }) ?? objectOf("numpy.ndarray");
  }
  return undefined;
}

function describeDType(code: string): PickleValue {
  const dtype: PickledDType = { className: "numpy.dtype", code, order: "<" };
  return Object.defineProperty(dtype, setState, {
    value(state: PickleValue) {
      if (Array.isArray(state)) dtype.order = textOf(state[1]);
    },
  });
}

/** An array that its state fills in; of objects or text it stays an object that says so. */
function blankArray(): PickleValue {
  const blank = objectOf("numpy.ndarray");
  return Object.defineProperty(blank, setState, {
    value(state: PickleValue) {
      const [, shape, dtype, isFortran, bytes] = Array.isArray(state) ? state : [];
      const array = arrayOf(dtype, shape, { bytes, isFortran: isFortran === true });
      if (!array) Object.assign(blank, { state: bytes ?? null });
      else {
        Reflect.deleteProperty(blank, "className");
        Object.assign(blank, array);
      }
    },
  });
}

function objectOf(className: string): { className: string } {
  return { className };
}

function scalarOf(dtype: PickleValue | undefined, bytes: PickleValue | undefined): PickleValue {
  const [value] = arrayOf(dtype, [], { bytes, isFortran: false })?.data ?? [];
  return value ?? objectOf("numpy.scalar");
}

/** Undefined for what is no array of numbers. @throws AlignTokError `unsupported` for complex numbers */
function arrayOf(
  dtype: PickleValue | undefined,
  shape: PickleValue | undefined,
  content: { readonly bytes: PickleValue | undefined; readonly isFortran: boolean },
): NdArray | undefined {
  const { code = "", order = "" } = (dtype ?? {}) as Partial<PickledDType>;
  const { bytes, isFortran } = content;
  if (!/^[fiubc]\d+$/.test(code) || !(bytes instanceof Uint8Array)) return undefined;
  const parsed = parseDescr(order + code, "in a pickle");
  const isCount = (n: PickleValue) => Number.isSafeInteger(n) && (n as number) >= 0;
  const isShape = Array.isArray(shape) && shape.length <= mostDimensions && shape.every(isCount);
  if (!isShape) return undefined;
  const header = { ...parsed, shape: shape as number[], isFortran, dataStart: 0 };
  if (byteLength(header) !== bytes.length) return undefined;
  return decodeElements(header, Uint8Array.from(bytes)) as NdArray<DType>;
}
