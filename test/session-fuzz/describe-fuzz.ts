/** A report of the session fuzzer, for people. */
import type { Finding, FuzzReport } from './session-fuzz.ts';

const mib = (bytes: number): string => (bytes / 2 ** 20).toFixed(1);

export function describeFuzz(report: FuzzReport, seed: number): string {
  const states = [...report.states].toSorted(([a], [b]) => a.localeCompare(b));
  return [
    ...report.findings.map((finding) => describeFinding(finding, seed)),
    `seed ${seed}: ${report.dialogues} sessions (${report.cut} cut by the client), ${report.lines} lines, ${report.commands} commands, ${report.mails} mails acknowledged`,
    `commands met: ${states.map(([name, count]) => `${name} ${count}`).join(', ')}`,
    `held of one client at most ${Math.round(report.peakHeldBytes / 1024)} KiB; heap ${mib(report.heapBytes.early)} MiB, at the end ${mib(report.heapBytes.late)} MiB`,
    `${report.findings.length} findings`,
  ].join('\n');
}

export function describeFinding({ dialogue, problem, shortened }: Finding, seed: number): string {
  const { house, proxy, waitsForGreeting, tls, ending, deaf } = shortened;
  const how = { house, proxy: proxy?.bytes.slice(0, 200) ?? null, waitsForGreeting, tls, ending, deaf };
  const steps = shortened.steps.map(({ send, wait, cuts }) => {
    const shown = send.length > 400 ? `${send.slice(0, 200)}… (${send.length} octets)` : send;
    return `    ${JSON.stringify(shown)}${cuts.length > 0 ? ` cut at ${cuts.join()}` : ''}${wait ? ', waits' : ''}`;
  });
  return [
    `session ${dialogue}: ${problem.slice(0, 800)}`,
    `  npm run fuzz:session -- --seed ${seed} --dialogue ${dialogue}`,
    `  shortened: ${JSON.stringify(how)}`,
    ...steps,
  ].join('\n');
}
