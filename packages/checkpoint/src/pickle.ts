/**
 * Python's pickles, protocols 0 to 5, as data: nothing is imported, called or executed.
 *
 * What a pickle names (`torch._utils._rebuild_tensor_v2`) is looked up by the caller, who makes data of what it knows
 * and keeps the rest as names. Lists and tuples become arrays, dictionaries Maps, None null. Time and memory stay within
 * a multiple of the pickle's size, whatever it says.
 * Format: Python, `Lib/pickletools.py`.
 */
import { AlignTokError, type NdArray } from "@aligntok/core";

export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | NdArray
  | PickledObject
  | PickleValue[]
  | Set<PickleValue>
  | Map<PickleValue, PickleValue>;

/** An object, class or function of Python that is none of the above; nothing of it was executed. */
export interface PickledObject {
  /** `module.Name`. */
  readonly className: string;
  /** What it was made of. */
  readonly args?: readonly PickleValue[];
  /** Its attributes, or what it gave as its state. */
  state?: PickleValue;
  /** What it holds as a dictionary, or as a list by index. */
  items?: Map<PickleValue, PickleValue>;
}

/** What a name in a pickle stands for: itself, and maybe how to make a value of arguments. */
export interface PickleName extends PickledObject {
  readonly call?: (args: PickleValue[]) => PickleValue;
}

/** Takes the state of an object that is no plain one. */
export const setState = Symbol("setState");
interface Stateful {
  [setState](state: PickleValue): void;
}

export interface PickleNames {
  /** The function or class `module.name`; throws for what is not allowed. */
  find(module: string, name: string): PickleName;
  /** The object that a persistent id stands for: a storage, in PyTorch's files. */
  load(id: PickleValue): PickleValue;
}

const mark = Symbol("mark");
type Item = PickleValue | typeof mark;

/** What calls may copy for each byte of a pickle, lest a few of them multiply a long string. */
const mostCopied = 16;
const leastBudget = 2 ** 20;

/**
 * The value at the beginning of `bytes`, and where its pickle ends.
 *
 * @param source what errors call it
 * @throws AlignTokError `bad-format` for damaged bytes, and what `names` throws
 */
export function unpickle(
  bytes: Uint8Array,
  names: PickleNames,
  source: string,
): { readonly value: PickleValue; readonly end: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stack: Item[] = [];
  const memo = new Map<number, Item>();
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let at = 0;
  let budget = mostCopied * bytes.length + leastBudget;

  function fail(problem: string): never {
    throw new AlignTokError(
      "bad-format",
      `pickle ${source}: byte ${at}: ${problem}. the file is damaged, incomplete or of another format`,
    );
  }
  function take(length: number): Uint8Array {
    if (length > bytes.length - at) fail(`expected ${length} more bytes, got ${bytes.length - at}`);
    at += length;
    return bytes.subarray(at - length, at);
  }
  const text = (length: number) => decoder.decode(take(length));
  function number(length: 1 | 2 | 4 | 8): number {
    take(length);
    if (length === 1) return view.getUint8(at - 1);
    if (length === 2) return view.getUint16(at - 2, true);
    if (length === 4) return view.getUint32(at - 4, true);
    return Number(view.getBigUint64(at - 8, true));
  }
  function line(): string {
    const end = bytes.indexOf(10, at);
    if (end < 0) fail("expected the end of a line");
    const found = text(end - at);
    at = end + 1;
    return found;
  }
  function pop(): Item {
    if (stack.length === 0) fail("expected a value on the stack, got none");
    return stack.pop()!;
  }
  const popValue = () => pop() as PickleValue;
  function popMark(): PickleValue[] {
    const start = stack.lastIndexOf(mark);
    if (start < 0) fail("expected a mark on the stack, got none");
    const items = stack.splice(start);
    return items.slice(1) as PickleValue[];
  }
  function top(): Item {
    return stack.at(-1) ?? (stack.length ? null : fail("expected a value on the stack, got none"));
  }
  function setItems(items: readonly PickleValue[]): void {
    const target = dictionaryOf(top());
    if (items.length % 2) fail("expected pairs of key and value");
    for (let i = 0; i < items.length; i += 2) target.set(items[i]!, items[i + 1]!);
  }
  function dictionaryOf(target: Item): Map<PickleValue, PickleValue> {
    if (target instanceof Map) return target;
    if (!isObject(target)) fail("expected a dictionary");
    target.items ??= new Map();
    return target.items;
  }
  function append(items: readonly PickleValue[]): void {
    const target = top();
    if (target instanceof Set) for (const item of items) target.add(item);
    else if (Array.isArray(target)) for (const item of items) target.push(item);
    else {
      const own = dictionaryOf(target);
      for (const item of items) own.set(own.size, item);
    }
  }
  function call(target: Item, args: Item): PickleValue {
    if (!isObject(target)) fail("expected the name of a function or class");
    if (!Array.isArray(args)) fail("expected a tuple of arguments");
    for (const arg of args) {
      budget -= Array.isArray(arg) || typeof arg === "string" ? arg.length : 1;
    }
    if (budget < 0) fail("expected calls of fewer elements");
    const { call: make, className } = target as PickleName;
    return make ? make(args) : { className, args };
  }
  function recall(key: number): Item {
    if (!memo.has(key)) fail(`expected memo ${key}, got none`);
    return memo.get(key)!;
  }
  function long(length: number): PickleValue {
    if (length > 64) fail(`expected a whole number of at most 64 bytes, got ${length}`);
    const digits = take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) value = value * 256n + BigInt(digits[i]!);
    if (length && digits[length - 1]! & 128) value -= 1n << BigInt(8 * length);
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  }
  function whole(digits: string): PickleValue {
    if (!/^-?\d{1,200}L?$/.test(digits)) fail("expected a whole number");
    const value = Number(digits.replace("L", ""));
    return Number.isSafeInteger(value) ? value : BigInt(digits.replace("L", ""));
  }
  function build(state: PickleValue): void {
    const target = top();
    if (isStateful(target)) target[setState](state);
    else if (isObject(target)) target.state = state;
    // anything else has attributes beside what it holds, such as a dictionary's _metadata
  }

  const operations: Readonly<Record<string, () => void>> = {
    "\x80": () => void (number(1) > 5 && fail("expected protocol 0 to 5")),
    "\x95": () => void number(8),
    "(": () => void stack.push(mark),
    "0": () => void pop(),
    "1": () => void popMark(),
    "2": () => void stack.push(top()),
    N: () => void stack.push(null),
    "\x88": () => void stack.push(true),
    "\x89": () => void stack.push(false),
    I() {
      const digits = line();
      stack.push(digits === "01" ? true : digits === "00" ? false : whole(digits));
    },
    L: () => void stack.push(whole(line())),
    K: () => void stack.push(number(1)),
    M: () => void stack.push(number(2)),
    J: () => void stack.push(number(4) | 0),
    "\x8a": () => void stack.push(long(number(1))),
    "\x8b": () => void stack.push(long(number(4))),
    F: () => void stack.push(Number(line())),
    G() {
      take(8);
      stack.push(view.getFloat64(at - 8));
    },
    S: () => void stack.push(line().replace(/^(['"])(.*)\1$/, "$2")),
    V: () => void stack.push(line()),
    U: () => void stack.push(text(number(1))),
    T: () => void stack.push(text(number(4))),
    X: () => void stack.push(text(number(4))),
    "\x8c": () => void stack.push(text(number(1))),
    "\x8d": () => void stack.push(text(number(8))),
    C: () => void stack.push(take(number(1)).slice()),
    B: () => void stack.push(take(number(4)).slice()),
    "\x8e": () => void stack.push(take(number(8)).slice()),
    "\x96": () => void stack.push(take(number(8)).slice()),
    "]": () => void stack.push([]),
    "}": () => void stack.push(new Map()),
    ")": () => void stack.push([]),
    "\x8f": () => void stack.push(new Set()),
    l: () => void stack.push(popMark()),
    t: () => void stack.push(popMark()),
    "\x91": () => void stack.push(new Set(popMark())),
    d() {
      const items = popMark();
      stack.push(new Map());
      setItems(items);
    },
    "\x85": () => void stack.push([popValue()]),
    "\x86"() {
      const second = popValue();
      stack.push([popValue(), second]);
    },
    "\x87"() {
      const [third, second] = [popValue(), popValue()];
      stack.push([popValue(), second, third]);
    },
    a() {
      const item = popValue();
      append([item]);
    },
    e: () => append(popMark()),
    "\x90": () => append(popMark()),
    s() {
      const value = popValue();
      const key = popValue();
      setItems([key, value]);
    },
    u: () => setItems(popMark()),
    p: () => void memo.set(Number(line()), top()),
    q: () => void memo.set(number(1), top()),
    r: () => void memo.set(number(4), top()),
    "\x94": () => void memo.set(memo.size, top()),
    g: () => void stack.push(recall(Number(line()))),
    h: () => void stack.push(recall(number(1))),
    j: () => void stack.push(recall(number(4))),
    c: () => void stack.push(names.find(line(), line())),
    "\x93"() {
      const [name, module] = [popValue(), popValue()];
      stack.push(names.find(textOf(module), textOf(name)));
    },
    R() {
      const args = pop();
      stack.push(call(pop(), args));
    },
    "\x81"() {
      const args = pop();
      stack.push(call(pop(), args));
    },
    "\x92"() {
      pop(); // arguments by name
      const args = pop();
      stack.push(call(pop(), args));
    },
    i() {
      const name = names.find(line(), line());
      stack.push(call(name, popMark()));
    },
    o() {
      const [name = null, ...args] = popMark();
      stack.push(call(name, args));
    },
    b: () => build(popValue()),
    P: () => void stack.push(names.load(line())),
    Q: () => void stack.push(names.load(popValue())),
  };

  while (true) {
    const code = String.fromCharCode(number(1));
    if (code === ".") return { value: popValue(), end: at };
    const operation = Object.hasOwn(operations, code) ? operations[code] : undefined;
    if (!operation) fail(`expected an operation, got code ${code.charCodeAt(0)}`);
    operation();
  }
}

/** A scalar as text; empty for containers, whose text may be endless. */
export function textOf(value: PickleValue | undefined): string {
  return typeof value === "object" || value === undefined ? "" : String(value);
}

function isObject(item: Item): item is PickledObject {
  return typeof item === "object" && item !== null && "className" in item;
}

function isStateful(item: Item): item is PickleValue & Stateful {
  return typeof item === "object" && item !== null && setState in item;
}
