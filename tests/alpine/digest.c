/* Alpine's OpenSSL library at work: its version, digests of a megabyte, and whether a second of SHA-256 gets anywhere. */
#include <stdio.h>
#include <string.h>
#include <time.h>

const char *OpenSSL_version(int kind);
const void *EVP_get_digestbyname(const char *name);
int EVP_Digest(const void *data, size_t length, unsigned char *digest, unsigned *size, const void *type, void *engine);

static unsigned char data[1 << 20];

int main(int argc, char **argv) {
    unsigned char digest[64];
    unsigned size;
    printf("%s\n", OpenSSL_version(0));
    for (int i = 1; i < argc; i++) {
        if (!EVP_Digest(data, sizeof data, digest, &size, EVP_get_digestbyname(argv[i]), 0)) return 1;
        printf("%s ", argv[i]);
        for (unsigned j = 0; j < size; j++) printf("%02x", digest[j]);
        printf("\n");
    }
    long count = 0;
    for (time_t until = time(0) + 2; time(0) < until; count++)
        EVP_Digest(data, 16384, digest, &size, EVP_get_digestbyname("SHA256"), 0);
    printf("%s\n", count > 10 ? "fast enough" : "too slow");
    return 0;
}
