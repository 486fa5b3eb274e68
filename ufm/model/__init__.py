"""The one problem of the library: labels, a loss, and factors with their decay and domains."""

from ufm.model.blocks import Block as Block
from ufm.model.blocks import Blocks as Blocks
from ufm.model.certifiable import require_certifiable as require_certifiable
from ufm.model.params import Params as Params
from ufm.model.problem import Problem as Problem
from ufm.model.problem import with_canonical_loss as with_canonical_loss
from ufm.model.requirements import check_params as check_params
from ufm.model.requirements import require_decay as require_decay
from ufm.model.requirements import require_minimum as require_minimum
from ufm.model.requirements import require_plain as require_plain
from ufm.model.requirements import require_product as require_product
from ufm.model.requirements import require_searchable as require_searchable
from ufm.model.requirements import require_shapes as require_shapes
from ufm.model.requirements import require_smooth as require_smooth
from ufm.model.requirements import require_unconstrained as require_unconstrained
from ufm.model.requirements import require_whole_logits as require_whole_logits
from ufm.model.value import decay as decay
from ufm.model.value import fit as fit
from ufm.model.value import objective as objective
from ufm.model.value import objective_error as objective_error
from ufm.model.value import terms_of_sum as terms_of_sum

__all__ = ["Params", "Problem", "objective"]
