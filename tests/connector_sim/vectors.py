"""Fixed numbers generated with the OpenSSL command line, and keys shared by tests."""

from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa

# openssl genrsa 2048 | openssl rsa -noout -modulus
RSA_2048_N = (
    "ae64e5eebdc021f2c2919a5585984d6ead5f283e690e825a70c30fc042a68cf3"
    "55f8ed2b31432974f83d08d62c0f126aaebd75a9f337c006d1bda50084455b10"
    "c65df210c6ac4e993d75a1cbb023f89cc65e3e7523c067f4f111fa88d7c0ab1c"
    "99427190b20e9601a35e1228a8d1e7a462fe078dfb614d715b8f61f5b643faa5"
    "a3607d30d583df45d01022f0dc57044fa7858118d611d7bedd0efc2fb15c2661"
    "533a080b4eabd3f34db27dfae5238c324279a4c673e9f06d8e6a4a98c705bcb3"
    "31fa1638db8fb301443a92e690489f21f992bb0664a571f3d8ae485e752f0cf9"
    "7b60018e077b127b3a3d8344b3fcc69905ee54dcbc1868f5d9246e8a80c603e9"
)


@cache
def small_key(bits: int, index: int) -> rsa.RSAPrivateKey:
    """Return one of a few keys of a size; `index` tells them apart."""
    return rsa.generate_private_key(public_exponent=(3, 65537)[index % 2], key_size=bits)
