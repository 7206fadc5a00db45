// SPDX-License-Identifier: Apache-2.0
// pin > policy > measurement > the device's own provider > name; fallbacks last unless pinned.
#include "test_util.h"

namespace tg::registry {
namespace {

const std::vector<Provider> kProviders = {{"slow", true}, {"cpu"}, {"zeta"}, {"alpha"}, {"cuda"}};

std::vector<std::string> order(const RankPolicy& policy, std::vector<std::string>* reasons = nullptr) {
  std::vector<std::string> out;
  for (const auto& r : rank(kProviders, policy)) {
    EXPECT_FALSE(r.reason.empty());
    out.push_back(kProviders[r.index].name);
    if (reasons) reasons->push_back(r.reason);
  }
  return out;
}
using Names = std::vector<std::string>;

TEST(Rank, ByNameWithFallbackLast) { EXPECT_EQ(order({}), (Names{"alpha", "cpu", "cuda", "zeta", "slow"})); }

TEST(Rank, EachRuleBeatsTheNext) {
  RankPolicy p;
  p.device_provider = "zeta";
  EXPECT_EQ(order(p), (Names{"zeta", "alpha", "cpu", "cuda", "slow"}));
  p.measured = [](const std::string& n) -> std::optional<double> {
    if (n == "cuda") return 5;
    if (n == "cpu") return 3;
    if (n == "slow") return 1;
    return std::nullopt;
  };
  EXPECT_EQ(order(p), (Names{"cpu", "cuda", "zeta", "alpha", "slow"}));
  p.prefer = {"slow", "cuda"};
  EXPECT_EQ(order(p), (Names{"cuda", "cpu", "zeta", "alpha", "slow"}));
  p.pin = {"slow", "absent", "alpha"};
  std::vector<std::string> reasons;
  EXPECT_EQ(order(p, &reasons), (Names{"slow", "alpha", "cuda", "cpu", "zeta"}));
  EXPECT_EQ(reasons, (Names{"pinned by the user (1 of 3)", "pinned by the user (3 of 3)",
                            "preferred by policy (2 of 2)", "measured: 3 ns", "the device's own provider"}));
}

TEST(Rank, NothingToRank) { EXPECT_TRUE(rank({}, {}).empty()); }

TEST(Rank, PinFromEnvironment) {
  const ScopedEnv pin("TENGEN_PLUGIN", "cpu, reference,,  x ,");
  EXPECT_EQ(pin_from_environment().names, (Names{"cpu", "reference", "x"}));
  EXPECT_FALSE(pin_from_environment().only);
}

TEST(Rank, OnlyLeavesTheOthersOut) {
  const ScopedEnv pin("TENGEN_PLUGIN", "only:zeta, cpu");
  const Pin p = pin_from_environment();
  EXPECT_TRUE(p.only);
  EXPECT_EQ(p.names, (Names{"zeta", "cpu"}));
  RankPolicy policy;
  policy.pin = p.names;
  policy.only = p.only;
  policy.device_provider = "alpha";
  Names serving, left_out;
  for (const auto& r : rank(kProviders, policy)) {
    (r.left_out ? left_out : serving).push_back(kProviders[r.index].name);
    EXPECT_EQ(r.left_out, r.reason == "left out: TENGEN_PLUGIN=only:zeta,cpu names others");
  }
  EXPECT_EQ(serving, (Names{"zeta", "cpu"}));
  EXPECT_EQ(left_out, (Names{"alpha", "cuda", "slow"}));
}

}  // namespace
}  // namespace tg::registry
