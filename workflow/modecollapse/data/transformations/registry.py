"""The transformations of data sets, by their key in `data.NAME`: adding one is a module here and a key of the config.

Importing this module is cheap, so that the configuration can.
"""

from collections.abc import Mapping

from modecollapse.data.transformations.balance import BALANCE
from modecollapse.data.transformations.base import Transformation
from modecollapse.data.transformations.classify import CLASSIFY
from modecollapse.data.transformations.decontaminate import DECONTAMINATE
from modecollapse.data.transformations.deduplicate import DEDUPLICATE
from modecollapse.data.transformations.perplexity import PERPLEXITY
from modecollapse.data.transformations.split import SPLIT

TRANSFORMATIONS: Mapping[str, Transformation] = {
    each.name: each for each in (PERPLEXITY, BALANCE, DEDUPLICATE, DECONTAMINATE, CLASSIFY, SPLIT)
}
