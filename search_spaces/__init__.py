"""Search spaces to use and to copy: one file each, which never imports nasproxy.

A file has ``build(trial, input_shape, num_classes)``, which returns a network, and may have

- ``describe(params)``: a readable name of the architecture;
- ``canonical(params)``: a text that architectures which compute the same have in common, so that
  only one of them is trained;
- ``suggest(trial)``: draws what `build` draws and builds nothing, where every choice is valid, so
  that thousands are drawn fast;
- ``draw(params)``: a picture of the architecture, SVG, for reports; shown of these spaces alone;
- ``proxy_recipe``: options of `nasproxy.Recipe` by name, for trainings on proxy sets.
"""
