import { type EngineName, engines } from "../src/index.ts";

const reports = await engines();

/** The engines that compiled graphs are tested on here: ONNX Runtime always, TensorFlow where it is installed. */
export const compiledEngines: readonly EngineName[] = reports
  .filter(({ name, available }) => name === "onnxruntime" || (name === "tensorflow" && available))
  .map(({ name }) => name);

const tensorflow = reports.find(({ name }) => name === "tensorflow");
/** Why tests of TensorFlow are skipped here, or undefined. */
export const noTensorFlow = tensorflow?.available ? undefined : tensorflow?.detail;
if (noTensorFlow) console.warn(`tests on tensorflow are skipped: ${noTensorFlow}`);
