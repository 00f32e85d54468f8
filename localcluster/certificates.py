"""The cluster's certificate authority and the key pairs it signs."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = datetime.timedelta(days=365)


def _name(common_name: str, organization: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _private_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _write_private(path: Path, data: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(data)


class Authority:
    """Signs certificates; keeps everything as `<name>.crt` and `<name>.key` in one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = _name("local-cluster")
        self._certificate = self._sign(
            name, name, self._key, x509.BasicConstraints(ca=True, path_length=None)
        )
        self.bundle = folder / "ca.crt"
        self.bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(
        self,
        subject: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *extensions: x509.ExtensionType,
        valid: datetime.timedelta = VALID,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + valid)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _issue(
        self,
        file: str,
        subject: x509.Name,
        *extensions: x509.ExtensionType,
        valid: datetime.timedelta = VALID,
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = self._certificate.subject
        certificate = self._sign(subject, issuer, key, *extensions, valid=valid)
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        (self.folder / f"{file}.crt").write_bytes(pem)
        _write_private(self.folder / f"{file}.key", _private_pem(key))

    def issue_client(self, file: str, user: str, group: str | None = None) -> None:
        """A certificate that the API server reads as this user in this group."""
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        self._issue(file, _name(user, group), usage)

    def issue_server(
        self,
        file: str,
        names: list[str],
        addresses: list[str],
        *,
        valid: datetime.timedelta = VALID,
    ) -> None:
        """A certificate for a server under these names and addresses."""
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        alternative = x509.SubjectAlternativeName(alternatives)
        self._issue(file, _name(names[0]), usage, alternative, valid=valid)


def write_token_key(path: Path) -> None:
    """The key that service-account tokens are signed with."""
    _write_private(
        path, _private_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    )
