// SPDX-License-Identifier: Apache-2.0
// SHA-256 against the published vectors, CPU features.
#include <cstring>

#include "test_util.h"

namespace tg::registry {
namespace {

TEST(Sha256, PublishedVectors) {
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1000000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, FileEqualsBytes) {
  TempDir dir;
  for (size_t n : {0, 1, 55, 56, 63, 64, 65, 65535, 65536, 65537}) {
    const std::string bytes(n, char('a' + n % 26));
    write_file(dir / "x", bytes);
    EXPECT_EQ(sha256_file(dir / "x"), sha256_hex(bytes)) << n;
  }
  EXPECT_THROW(sha256_file(dir / "absent"), std::runtime_error);
}

TEST(Cpu, AgreesWithTheCompilersRuntime) {
  EXPECT_FALSE(cpu_has("no_such_feature"));
  EXPECT_EQ(missing_cpu_features(""), "");
  EXPECT_EQ(missing_cpu_features("no_such_feature also_none"), "no_such_feature also_none");
#if defined(__x86_64__)
  EXPECT_TRUE(cpu_has("sse2"));
  EXPECT_EQ(cpu_has("sse4.1"), cpu_has("sse4_1"));
  __builtin_cpu_init();
  // The builtin takes literals only.
  const std::pair<const char*, bool> theirs[] = {{"avx", __builtin_cpu_supports("avx")},
                                                 {"avx2", __builtin_cpu_supports("avx2")},
                                                 {"fma", __builtin_cpu_supports("fma")},
                                                 {"bmi2", __builtin_cpu_supports("bmi2")},
                                                 {"popcnt", __builtin_cpu_supports("popcnt")},
                                                 {"avx512f", __builtin_cpu_supports("avx512f")},
                                                 {"avx512bw", __builtin_cpu_supports("avx512bw")},
                                                 {"avx512vl", __builtin_cpu_supports("avx512vl")},
                                                 {"avx512vbmi", __builtin_cpu_supports("avx512vbmi")},
                                                 {"avx512vnni", __builtin_cpu_supports("avx512vnni")},
                                                 {"avx512bf16", __builtin_cpu_supports("avx512bf16")}};
  for (const auto& [name, has] : theirs) EXPECT_EQ(cpu_has(name), has) << name;
  EXPECT_EQ(std::string(cpu_architecture()), "x86_64");
#elif defined(__aarch64__)
  EXPECT_TRUE(cpu_has("asimd"));
#endif
}

}  // namespace
}  // namespace tg::registry
