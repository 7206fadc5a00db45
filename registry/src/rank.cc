// SPDX-License-Identifier: Apache-2.0
//
// In which order plugins are asked for a kernel. Scores do not appear: they order the rows of one plugin only.
#include <algorithm>
#include <limits>

#include "internal.h"

namespace tg::registry {
namespace {

constexpr size_t kNone = std::numeric_limits<size_t>::max();

size_t place(const std::vector<std::string>& order, const std::string& name) {
  const auto it = std::find(order.begin(), order.end(), name);
  return it == order.end() ? kNone : size_t(it - order.begin());
}

struct Key {
  size_t pin;
  bool fallback;
  size_t prefer;
  bool measured;
  double ns;
  bool own;
};

}  // namespace

std::vector<Ranked> rank(std::span<const Provider> providers, const RankPolicy& policy) {
  std::vector<Key> keys;
  std::vector<Ranked> out;
  for (size_t i = 0; i < providers.size(); ++i) {
    const Provider& p = providers[i];
    const auto ns = policy.measured ? policy.measured(p.name) : std::nullopt;
    Key k{place(policy.pin, p.name),
          p.fallback,
          place(policy.prefer, p.name),
          ns.has_value(),
          ns.value_or(0),
          !policy.device_provider.empty() && p.name == policy.device_provider};
    std::string reason;
    const bool left_out = policy.only && k.pin == kNone;
    if (left_out) {
      reason = "left out: TENGEN_PLUGIN=only:" + join(policy.pin, ",") + " names others";
    } else if (k.pin != kNone) {
      reason = format("pinned by the user (%zu of %zu)", k.pin + 1, policy.pin.size());
    } else if (k.fallback) {
      reason = "a fallback: behind every other provider";
    } else if (k.prefer != kNone) {
      reason = format("preferred by policy (%zu of %zu)", k.prefer + 1, policy.prefer.size());
    } else if (k.measured) {
      reason = format("measured: %.0f ns", k.ns);
    } else if (k.own) {
      reason = "the device's own provider";
    } else {
      reason = "by name";
    }
    keys.push_back(k);
    out.push_back({i, std::move(reason), left_out});
  }
  std::stable_sort(out.begin(), out.end(), [&](const Ranked& x, const Ranked& y) {
    const Key &a = keys[x.index], &b = keys[y.index];
    if (a.pin != b.pin) return a.pin < b.pin;
    if (a.fallback != b.fallback) return b.fallback;
    if (a.prefer != b.prefer) return a.prefer < b.prefer;
    if (a.measured != b.measured) return a.measured;
    if (a.ns != b.ns) return a.ns < b.ns;
    if (a.own != b.own) return a.own;
    return providers[x.index].name < providers[y.index].name;
  });
  return out;
}

Pin pin_from_environment() {
  Pin pin;
  std::string text = environment("TENGEN_PLUGIN");
  constexpr std::string_view kOnly = "only:";
  if (text.starts_with(kOnly)) {
    pin.only = true;
    text.erase(0, kOnly.size());
  }
  for (auto& word : split(text, ',')) {
    const size_t begin = word.find_first_not_of(' ');
    if (begin == std::string::npos) continue;
    pin.names.push_back(word.substr(begin, word.find_last_not_of(' ') - begin + 1));
  }
  return pin;
}

}  // namespace tg::registry
