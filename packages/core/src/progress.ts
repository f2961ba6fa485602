/** How far a long operation is; `total` is absent where it is not known. */
export interface Progress {
  /** What is being done, as a short noun phrase: `stage 1`, `decoding`. */
  readonly task: string;
  readonly done: number;
  readonly total?: number;
  /** What `done` and `total` count, where it is not things. */
  readonly unit?: "bytes";
  /** Figures to show beside the bar, such as the current loss. */
  readonly metrics?: Readonly<Record<string, number>>;
}

export type OnProgress = (progress: Progress) => void;

/** The part of a logger that libraries use; pino and console satisfy it. Libraries never print by themselves. */
export interface Logger {
  debug(message: string): void;
  info(message: string): void;
  warn(message: string): void;
}

export const silentLogger: Logger = { debug() {}, info() {}, warn() {} };
