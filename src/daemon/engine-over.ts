import type { SandboxId, Slot } from '../ipam/lease.ts';
import type { CreateRequest, Engine, SandboxChange } from './engine.ts';
import { Listeners } from './listeners.ts';

/** An engine that does what another does, but for what its kind does otherwise; it tells of more than the other. */
export class EngineOver<Inner extends Engine> implements Engine {
  readonly inner: Inner;
  protected readonly listeners = new Listeners();

  constructor(inner: Inner) {
    this.inner = inner;
    inner.subscribe((event) => this.listeners.publish(event));
  }

  create(requests: readonly CreateRequest[]): ReturnType<Engine['create']> {
    return this.inner.create(requests);
  }

  update(id: SandboxId, change: SandboxChange): ReturnType<Engine['update']> {
    return this.inner.update(id, change);
  }

  remove(ids: readonly SandboxId[]): ReturnType<Engine['remove']> {
    return this.inner.remove(ids);
  }

  list(): ReturnType<Engine['list']> {
    return this.inner.list();
  }

  inspect(id: SandboxId): ReturnType<Engine['inspect']> {
    return this.inner.inspect(id);
  }

  leases(): ReturnType<Engine['leases']> {
    return this.inner.leases();
  }

  release(slot: Slot, options: { readonly force: boolean }): ReturnType<Engine['release']> {
    return this.inner.release(slot, options);
  }

  reconcile(options: { readonly dryRun: boolean }): ReturnType<Engine['reconcile']> {
    return this.inner.reconcile(options);
  }

  status(): ReturnType<Engine['status']> {
    return this.inner.status();
  }

  updatePeers(...told: Parameters<Engine['updatePeers']>): Promise<void> {
    return this.inner.updatePeers(...told);
  }

  updateMembers(...told: Parameters<Engine['updateMembers']>): Promise<void> {
    return this.inner.updateMembers(...told);
  }

  hosts(): ReturnType<Engine['hosts']> {
    return this.inner.hosts();
  }

  mesh(): ReturnType<Engine['mesh']> {
    return this.inner.mesh();
  }

  changeMesh(...wished: Parameters<Engine['changeMesh']>): ReturnType<Engine['changeMesh']> {
    return this.inner.changeMesh(...wished);
  }

  removeHost(name: string): Promise<void> {
    return this.inner.removeHost(name);
  }

  setDraining(isDraining: boolean): Promise<void> {
    return this.inner.setDraining(isDraining);
  }

  purge(): Promise<void> {
    return this.inner.purge();
  }

  subscribe(...listener: Parameters<Engine['subscribe']>): () => void {
    return this.listeners.add(...listener);
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}
