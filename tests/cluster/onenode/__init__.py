"""A Kubernetes of one node on this machine, without Docker, systemd or an image registry.

    python -m tests.cluster.onenode check|build|up|images|status|down
    python -m tests.cluster.onenode run COMMAND ...

etcd, API server, controller manager, scheduler, kubelet, kube-proxy, CoreDNS, kube-router,
KubeRay, KServe, metrics-server and MinIO are built from Go modules, containerd comes from apt, and
the images of the chart are put together from this checkout and its ``.venv``.

One process holds namespaces for mounts, processes and the network, and everything runs inside of
them. When it is killed, the kernel ends and unmounts all of it, so nothing can outlive `down`.
"""
