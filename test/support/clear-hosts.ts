import { afterEach, beforeEach } from 'vitest';
import { ClearHost } from '../../lab/clear-host.ts';
import { Underlay } from '../../lab/underlay.ts';

/**
 * Two hosts on a link, one behind a router, and a stranger on the link, who is a host as well. Each has a sandbox:
 *
 *     s1 10.64.16.1 ── router ── h1 192.0.2.11 ──┐
 *     s1 10.64.32.1 ── router ── h2 192.0.2.12 ──┤
 *     s1 10.64.64.1 ── router ── h3 192.0.2.13 ──┴─ wire ── h4 198.51.100.11 ── router ── s1 10.64.48.1
 *                                (the stranger)
 */
export class ClearHosts {
  /** what goes with them */
  readonly opened = new DisposableStack();
  readonly one: ClearHost;
  readonly two: ClearHost;
  readonly stranger: ClearHost;
  readonly far: ClearHost;

  constructor() {
    const underlay = this.opened.use(new Underlay(4, { far: 1 }));
    const subnets = ['10.64.16.0/20', '10.64.32.0/20', '10.64.64.0/20', '10.64.48.0/20'];
    const hosts = underlay.hosts.map((place, index) =>
      this.opened.use(new ClearHost(underlay, place, subnets[index] ?? '')),
    );
    [this.one, this.two, this.stranger, this.far] = hosts as [ClearHost, ClearHost, ClearHost, ClearHost];
  }

  /** All know all, and send in clear; h3 is nobody's peer. */
  join({ onLink }: { readonly onLink: boolean }): void {
    const hosts = [this.one, this.two, this.far];
    for (const host of hosts) {
      const peers = hosts
        .filter((other) => other !== host)
        .map((other) => other.peer(onLink && host !== this.far && other !== this.far));
      host.bring(peers);
      for (const peer of peers) host.route(peer);
    }
  }
}

/** @param begin is given those of each test */
export function useClearHosts(begin: (hosts: ClearHosts) => void): void {
  let hosts: ClearHosts | undefined;
  beforeEach(() => {
    hosts = new ClearHosts();
    begin(hosts);
  });
  afterEach(() => hosts?.opened.dispose());
}
