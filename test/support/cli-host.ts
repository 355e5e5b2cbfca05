import { afterAll, beforeAll, expect } from 'vitest';
import { LabHost } from '../../lab/host.ts';
import { CommandLine } from './command-line.ts';

type CliHost = { readonly host: LabHost; readonly culvert: CommandLine };

/**
 * A daemon on a real kernel, for all tests of a file, and its command line as a person types it:
 *
 *     outside 192.0.2.1 ── eth0 host ── cv-main ── router ── sandboxes
 */
export function useCliHost(): CliHost {
  let made: CliHost | undefined;
  const get = (): CliHost => {
    if (made === undefined) throw new Error('There is a host within a test only');
    return made;
  };
  beforeAll(async () => {
    const host = new LabHost();
    made = { host, culvert: new CommandLine(host) };
    await made.culvert.up();
  });
  afterAll(async () => {
    await made?.culvert.run('down', '--purge');
    made?.host[Symbol.dispose]();
  });
  return {
    get host() {
      return get().host;
    },
    get culvert() {
      return get().culvert;
    },
  };
}

/** What a command says of a mistake, as a machine reads it. */
export async function failureOf(
  culvert: CommandLine,
  ...parameters: string[]
): Promise<{ code: number | null; error: Record<string, string> }> {
  const { code, stdout, stderr } = await culvert.run(...parameters, '--json');
  expect(stdout).toBe('');
  return { code, ...(JSON.parse(stderr) as { error: Record<string, string> }) };
}
