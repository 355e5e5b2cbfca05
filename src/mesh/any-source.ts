import type { Kernel } from '../linux/apply.ts';
import { hasSysctl, readSysctl, writeSysctl } from '../linux/sysctl.ts';
import { type Link, ROUTER } from '../plan/state.ts';

/**
 * Lets packets of any source come in by these links of the router, as far as they are there: who may bear which is
 * decided before, and while hosts switch one after the other, answers come another way than what they answer went.
 *
 * @returns what was otherwise, in the words of sysctl(8)
 */
export function acceptAnySource(kernel: Kernel, links: readonly Link[], { dryRun }: { dryRun: boolean }): string[] {
  return kernel.inside(ROUTER, () =>
    links
      .map(({ name }) => `net/ipv4/conf/${name}/rp_filter`)
      .filter((setting) => hasSysctl(setting) && readSysctl(setting) !== '0')
      .map((setting) => {
        if (!dryRun) writeSysctl(setting, '0');
        return `sysctl -w ${setting}=0`;
      }),
  );
}
