import { type Logger, pino } from 'pino';

/** A log whose lines are kept, each as level and text; `whole` has every field, to look for what must not be there. */
export function recordingLog(): { log: Logger; lines: string[]; whole: string[] } {
  const lines: string[] = [];
  const whole: string[] = [];
  const log = pino(
    { level: 'info', base: null, formatters: { level: (label) => ({ level: label }) } },
    {
      write(line: string) {
        whole.push(line);
        const { level, msg } = JSON.parse(line) as { level: string; msg: string };
        lines.push(`${level} ${msg}`);
      },
    },
  );
  return { log, lines, whole };
}
