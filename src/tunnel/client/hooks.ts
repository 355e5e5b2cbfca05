import { spawnSync } from 'node:child_process';
import { CulvertError } from '../../errors.ts';
import { plainText } from '../../plain-text.ts';

/** How long a line may take. */
const LIMIT_MS = 60_000;
/** of what it says, in an error */
const SHOWN = 300;

/**
 * Runs lines of a wg-quick file as wg-quick(8) does: each by bash(1), `%i` being the name of the link. All else waits.
 *
 * @throws CulvertError `hook_failed` of the first that fails; those after it are not run
 */
export function runHooks(kind: string, lines: readonly string[], name: string): void {
  for (const line of lines) {
    const text = line.replaceAll('%i', name);
    const { status, signal, error, stderr } = spawnSync('bash', ['-c', text], {
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8',
      timeout: LIMIT_MS,
    });
    if (status === 0) continue;
    const how = error?.message ?? (signal === null ? `it ended with ${status}` : `it was ended by ${signal}`);
    const said = stderr === '' ? '' : `: ${plainText(stderr.trim(), SHOWN)}`;
    const message = `Cannot run ${kind} of ${name}, ${plainText(text, SHOWN)}: ${how}${said}`;
    throw new CulvertError('hook_failed', message);
  }
}
