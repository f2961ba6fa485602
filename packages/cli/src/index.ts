export type { ReportCell, ReportFigure, ReportGallery, ReportTable } from "./report/blocks.ts";
export type { ReportChart, ReportSeries } from "./report/chart.ts";
export type { ReportFact, ReportSummary } from "./report/page.ts";
export { paperStages } from "./report/paper.ts";
export { type ReportData, renderReport } from "./report/report.ts";
