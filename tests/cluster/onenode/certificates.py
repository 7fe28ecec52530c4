"""A certificate authority, a certificate for each part, and a kubeconfig for each client."""

from __future__ import annotations

from pathlib import Path

from tests.cluster.onenode.home import API_SERVICE_IP, NODE, NODE_IP, Home
from tests.cluster.onenode.shell import run
from tests.cluster.onenode.templates import write

WEBHOOK = "kserve-webhook-server-service.kserve.svc"

# Name -> subject, names of the server.
_SERVERS = {
    "apiserver": (
        "/CN=kube-apiserver",
        (
            *("DNS:kubernetes", "DNS:kubernetes.default", "DNS:kubernetes.default.svc"),
            *("DNS:kubernetes.default.svc.cluster.local", f"IP:{API_SERVICE_IP}"),
            *(f"IP:{NODE_IP}", "IP:127.0.0.1"),
        ),
    ),
    "webhook": (f"/CN={WEBHOOK}", (f"DNS:{WEBHOOK}",)),
    "kubelet": (f"/O=system:nodes/CN=system:node:{NODE}", (f"DNS:{NODE}", f"IP:{NODE_IP}")),
}
_CLIENTS = {
    "admin": "/O=system:masters/CN=admin",
    "apiserver-kubelet": "/O=system:masters/CN=kube-apiserver-kubelet-client",
    "front": "/CN=front-proxy-client",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
}
_KUBECONFIGS = ("admin", "controller-manager", "scheduler", "proxy", "kubelet")


def make(home: Home) -> None:
    home.pki.mkdir()
    (home.pki / "openssl.cnf").write_text("[req]\ndistinguished_name = dn\n[dn]\n")
    authority = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
    _certificate(home.pki, "ca", "/CN=kube-ca", *authority)
    for name, (subject, names) in _SERVERS.items():
        usage = "extendedKeyUsage=clientAuth,serverAuth"
        _certificate(home.pki, name, subject, usage, f"subjectAltName={','.join(names)}")
    for name, subject in _CLIENTS.items():
        _certificate(home.pki, name, subject, "extendedKeyUsage=clientAuth")
    for name in _KUBECONFIGS:
        write(home, "manifests/kubeconfig.yaml", home.pki / f"{name}.conf", client=name)
    run(["openssl", "genrsa", "-out", home.pki / "accounts.key", "2048"])


def _certificate(folder: Path, name: str, subject: str, *extensions: str) -> None:
    signer = () if name == "ca" else ("-CA", folder / "ca.crt", "-CAkey", folder / "ca.key")
    added = [word for extension in extensions for word in ("-addext", extension)]
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")
    target = ("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt")
    options = ("-x509", "-config", folder / "openssl.cnf", "-subj", subject)
    run(["openssl", "req", *options, *key, *target, *signer, *added])
