import { afterAll, beforeAll, describe, it } from 'vitest';
import { hasKernelWireguard } from './kernel.ts';
import { cases } from './testing/cases.ts';
import { TunnelHosts } from './testing/hosts.ts';
import { kernelDevices, programDevices } from './testing/lab-device.ts';

// Where this kernel has none, test/vm.test.ts runs the same in one that does.
const makers = hasKernelWireguard() ? [programDevices, kernelDevices] : [programDevices];

describe.each(makers)('a WireGuard in $name', (maker) => {
  let hosts: TunnelHosts;

  beforeAll(async () => {
    hosts = await TunnelHosts.make();
  });
  afterAll(() => hosts[Symbol.asyncDispose]());

  it.each(cases)('$name', ({ run }) => run(hosts, maker));
});
