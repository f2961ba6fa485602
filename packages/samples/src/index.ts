export { sampleEncoderPath } from "./encoder.ts";
export {
  readSamplePhotographs,
  type SamplePhotograph,
  type SamplePhotographs,
  selectGroups,
} from "./photographs.ts";
