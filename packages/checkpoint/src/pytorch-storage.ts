/** Storages of PyTorch's files, and the tensors that are views of them. */
import {
  AlignTokError,
  bytesPerElement,
  type DType,
  type FileRange,
  type NdArray,
  sizeOf,
  viewBytes,
} from "@aligntok/core";
import { gatherStrided, swapBytes } from "./element-order.ts";
import { lazyArray, mappedArray, readRange } from "./lazy-array.ts";
import { readZipMemberSync, type ZipMember } from "./zip.ts";

/** Elements that all tensors of a storage may have: so many times its own, or these. */
const mostViews = 64;
const leastViews = 2 ** 24;
/** As in PyTorch. */
const mostDimensions = 64;

/** Elements of one dtype in the file. */
export interface Storage {
  readonly className: "torch.Storage";
  readonly dtype: DType;
  /** In bytes. */
  readonly size: number;
  readonly place: StoragePlace;
  /** By dtype, offset, shape and strides, so that tied weights are one array. */
  readonly arrays: Map<string, NdArray>;
  /** Bytes of all arrays. */
  viewed: number;
}

/** Where a storage's bytes are: in the file as they are, or packed. */
export interface StoragePlace {
  readonly from: FileRange | ZipMember;
  readonly size: number;
  readonly isBigEndian: boolean;
}

export function createStorage(dtype: DType, place: StoragePlace): Storage {
  const { size } = place;
  return { className: "torch.Storage", dtype, size, place, arrays: new Map(), viewed: 0 };
}

export interface View {
  readonly dtype: DType;
  /** In elements, as the strides. */
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** The tensor that a view of a storage is. @throws AlignTokError `bad-format` for one that it does not hold */
export function viewStorage(path: string, storage: Storage | undefined, view: View): NdArray {
  const { dtype, offset, shape, strides } = view;
  const isCount = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
  const isCounts = (list: unknown) => Array.isArray(list) && list.every(isCount);
  const isView =
    storage?.arrays instanceof Map && isCount(offset) && isCounts(shape) && isCounts(strides);
  if (!storage || !isView || shape.length !== strides.length || shape.length > mostDimensions) {
    throw damaged(path, "expected storage, offset, shape and strides of a tensor");
  }
  const key = `${dtype} ${offset} ${shape} ${strides}`;
  const known = storage.arrays.get(key);
  if (known) return known;
  const width = bytesPerElement(dtype);
  const count = sizeOf(shape);
  const span = count && shape.reduce((sum, n, i) => sum + (n - 1) * strides[i]!, 1);
  // views and strides of 0 repeat elements: bounded, lest a small file ask for memory without end
  storage.viewed += count * width;
  const most = Math.max(storage.size * mostViews, leastViews);
  const end = count && (offset + span) * width;
  if (!(end <= storage.size && storage.viewed <= most)) {
    throw damaged(
      path,
      `expected tensors within ${storage.size} bytes, got ${dtype} [${shape}] with strides [${strides}] from ${offset}`,
    );
  }
  const array = arrayOf(storage.place, view, span);
  storage.arrays.set(key, array);
  return array;
}

function arrayOf(place: StoragePlace, view: View, span: number): NdArray {
  const { dtype, offset, shape, strides } = view;
  const { from, isBigEndian } = place;
  const width = bytesPerElement(dtype);
  const isDense = isRowMajor(view);
  if (isDense && !isBigEndian && !("archive" in from)) {
    return mappedArray(dtype, shape, { ...from, offset: from.offset + offset * width });
  }
  const read = () => {
    const bytes = readBytes(place, offset * width, span * width);
    if (isBigEndian) swapBytes(bytes, width);
    const { data } = viewBytes(bytes, [span], dtype);
    return isDense ? data : gatherStrided(data, { dtype, shape, strides });
  };
  return lazyArray<DType>(dtype, shape, { read });
}

function readBytes({ from }: StoragePlace, start: number, length: number): Uint8Array {
  if (!("archive" in from)) {
    return readRange({ ...from, offset: from.offset + start }, length);
  }
  const whole = readZipMemberSync(from);
  return whole.length === length ? whole : whole.slice(start, start + length);
}

function isRowMajor({ shape, strides }: View): boolean {
  if (sizeOf(shape) === 0) return true;
  let dense = 1;
  return [...shape.keys()].reverse().every((i) => {
    const fits = shape[i] === 1 || strides[i] === dense;
    dense *= shape[i]!;
    return fits;
  });
}

export function damaged(path: string, problem: string): AlignTokError {
  return new AlignTokError(
    "bad-format",
    `pytorch ${path}: ${problem}. the file is damaged, incomplete or of another format`,
  );
}
