# SPDX-License-Identifier: Apache-2.0
def pytest_configure(config):
    config.addinivalue_line("markers", "timed: fails when something is slow; no other test looks at a clock")
